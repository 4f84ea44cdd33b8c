"""The learning rate of a grid of runs: the best on validation data, the same budget for every encoding."""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import yaml

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.runs.history import first_difference
from roformer.tasks import TASKS
from roformer.tasks.language_modeling import LanguageModeling

# what the runs of a grid may have otherwise
_MAY_DIFFER = {
    "optimizer.learning_rate", "optimizer.grid", "seed", "paths", "tracker", "trainer.save_steps",
    "trainer.keep_checkpoints", "trainer.logging_steps", "trainer.eval_steps",
}  # fmt: skip

Grid = Mapping[float, float]
"""Learning rate -> validation loss at the end, the mean over the seeds that all rates have; infinite if diverged."""


def learning_rate_grid(config: TrainConfig) -> Grid | None:
    """Returns what the runs in the folder ``optimizer.grid`` say that are configured as this one but for learning rate
    and seed, by rising rate; None without a grid.

    Args:
        config: with precision and attention settled.

    Raises:
        UserError: if there is no such run or one has not ended, no seed has all rates, or the task has no loss that
            runs are chosen by.
    """
    if config.optimizer.grid is None:
        return None
    if not issubclass(TASKS[config.task["name"]], LanguageModeling):
        raise UserError("optimizer.grid goes by the validation loss of a language model; set optimizer.learning_rate")
    losses, rejected = _losses(config)
    asked = f"optimizer.grid={config.optimizer.grid}"
    if not losses:
        raise UserError(
            f"{asked} has no finished run with position={config.position['name']} that is configured as this one but "
            f"for learning rate and seed{rejected}; train some first (experiment=compare/grid), or set "
            "optimizer.grid=null"
        )
    seeds = set.intersection(*(set(by_seed) for by_seed in losses.values()))
    if not seeds:
        rates = "; ".join(f"{rate:g}: {', '.join(map(str, sorted(found)))}" for rate, found in sorted(losses.items()))
        raise UserError(
            f"{asked} has no seed of position={config.position['name']} that all learning rates were tried with "
            f"(seeds of {rates}); train the same seed at each"
        )
    return {rate: mean(by_seed[seed] for seed in sorted(seeds)) for rate, by_seed in sorted(losses.items())}


def best_rate(grid: Grid) -> float:
    """Returns the learning rate with the lowest loss."""
    return min(grid, key=grid.__getitem__)


def told(grid: Grid, folder: str | None) -> str:
    """Says where the best learning rate comes from, and whether a greater or smaller one might be better still."""
    edge = ", at its edge" if best_rate(grid) in (min(grid), max(grid)) else ""
    return f"the best in {folder}{edge}"


def _losses(config: TrainConfig) -> tuple[dict[float, dict[int, float]], str]:
    """Returns learning rate -> seed -> loss, and words on a run of the same encoding that is no part of it."""
    wanted, rejected = yaml.safe_load(config.to_yaml()), ""
    losses: dict[float, dict[int, float]] = defaultdict(dict)
    for path in sorted(Path(str(config.optimizer.grid)).glob("*")):
        run = RunFolder(path)
        stored = run.config
        if stored is None or stored["position"]["name"] != config.position["name"]:
            continue
        if found := first_difference(stored, wanted, but=_MAY_DIFFER):
            rejected = " ({} has {}={}, not {})".format(path, *found)
            continue
        losses[float(stored["optimizer"]["learning_rate"])][stored["seed"]] = _final_loss(run)
    return losses, rejected


def _final_loss(run: RunFolder) -> float:
    """Returns the last validation loss of a run that has ended: infinite where its loss was no number.

    Raises:
        UserError: if it has not ended.
    """
    lines = run.metrics()
    if lines and not math.isfinite(lines[-1]["loss"]):
        return math.inf
    if run.status != "finished":
        raise UserError(f"{run.path}, a run of optimizer.grid, has not ended; wait for it, or run its command again")
    *_, last = (line["validation_loss"] for line in lines if "validation_loss" in line)
    return last if math.isfinite(last) else math.inf
