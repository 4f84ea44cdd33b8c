"""The learning rate: as configured, or the best of a grid of finished runs, on validation data."""

from collections import defaultdict
from pathlib import Path
from statistics import mean

import yaml

from roformer.config import TrainConfig, first_difference, stored_config
from roformer.errors import UserError
from roformer.training.meter import read_metrics

# what the runs of a grid may have otherwise; the rest is the same budget for every encoding
_MAY_DIFFER = {
    "optimizer.learning_rate", "optimizer.grid", "seed", "paths", "tracker", "trainer.save_steps",
    "trainer.keep_checkpoints", "trainer.logging_steps",
}  # fmt: skip

Grid = dict[float, float]
"""Learning rate -> validation loss at the end, the mean over seeds."""


def resolve_learning_rate(config: TrainConfig) -> float:
    """Returns ``optimizer.learning_rate``, or where ``optimizer.grid`` names a folder, the learning rate with the
    lowest validation loss of its runs that are otherwise configured as this one.

    Args:
        config: with precision and attention settled.

    Raises:
        UserError: if there is no such run, or the task's metric is no loss.
    """
    grid, rejected = _read(config)
    if grid is None:
        return config.optimizer.learning_rate
    if config.task["name"] != "mlm":
        raise UserError("optimizer.grid goes by the validation loss of task=mlm; set optimizer.learning_rate here")
    if not grid:
        name = config.position["name"]
        why = f"; one there has another {rejected}" if rejected else ""
        raise UserError(
            f"optimizer.grid={config.optimizer.grid} has no finished run with position={name} that is configured as "
            f"this one but for learning rate and seed{why}; train some first (experiment=compare/grid), or set "
            "optimizer.grid=null"
        )
    return min(grid, key=grid.__getitem__)


def learning_rate_grid(config: TrainConfig) -> Grid | None:
    """Returns what ``optimizer.grid`` has found for this configuration, by rising rate; None without a grid."""
    return _read(config)[0]


def _read(config: TrainConfig) -> tuple[Grid | None, str | None]:
    """Returns the grid, and a setting in which a run of the same encoding differs that is no part of it."""
    if config.optimizer.grid is None:
        return None, None
    wanted, rejected = yaml.safe_load(config.to_yaml()), None
    losses = defaultdict(list)
    for file in sorted(Path(config.optimizer.grid).glob("*/export/config.json")):
        run = file.parents[1]
        stored = stored_config(run)
        if stored is None or stored["position"]["name"] != config.position["name"]:
            continue
        if difference := first_difference(stored, wanted, but=_MAY_DIFFER):
            rejected = difference
            continue
        *_, end = (line for line in read_metrics(run / "metrics.jsonl") if "validation_loss" in line)
        losses[float(stored["optimizer"]["learning_rate"])].append(end["validation_loss"])
    return {rate: mean(found) for rate, found in sorted(losses.items())}, rejected
