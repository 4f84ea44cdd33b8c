"""The learning rate: as configured, or the best of a grid of finished runs, on validation data."""

from pathlib import Path
from typing import Any

from roformer.config import TrainConfig, stored_config
from roformer.errors import UserError
from roformer.training.meter import read_metrics


def resolve_learning_rate(config: TrainConfig) -> float:
    """Returns ``optimizer.learning_rate``, or where ``optimizer.grid`` names a folder, the learning rate of the run
    in it that has the same encoding and ends with the lowest validation loss.

    Raises:
        UserError: if no run there has that encoding.
    """
    losses = learning_rate_grid(config.optimizer.grid, config.position)
    if losses is None:
        return config.optimizer.learning_rate
    if not losses:
        raise UserError(
            f"optimizer.grid={config.optimizer.grid} has no finished run with position={config.position['name']} as "
            "it is configured here; train some with several learning rates first (experiment=compare/grid), or set "
            "optimizer.grid=null"
        )
    return min(losses, key=losses.__getitem__)


def learning_rate_grid(folder: str | None, position: dict[str, Any]) -> dict[float, float] | None:
    """Returns learning rate -> validation loss at the end, of the finished runs with this encoding in ``folder``; None
    without a folder. Where several seeds share a rate, the last by name counts."""
    if folder is None:
        return None
    losses = {}
    for file in sorted(Path(folder).glob("*/export/config.json")):
        run = file.parents[1]
        stored = stored_config(run)
        if stored and stored["position"] == position:
            *_, end = (line for line in read_metrics(run / "metrics.jsonl") if "validation_loss" in line)
            losses[float(stored["optimizer"]["learning_rate"])] = end["validation_loss"]
    return dict(sorted(losses.items()))
