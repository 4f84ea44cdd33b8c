"""The learning rate with the best validation loss among earlier runs: the same budget of trials for every encoding."""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import yaml

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.runs.history import first_difference, migrate
from roformer.tasks import TASKS
from roformer.tasks.language_modeling import LanguageModeling

# the only settings in which the runs of a search may differ from the run that uses it
_MAY_DIFFER = {
    "optimizer.learning_rate", "lr_search_dir", "seed", "paths", "tracker", "trainer.save_steps",
    "trainer.keep_checkpoints", "trainer.logging_steps", "trainer.eval_steps",
}  # fmt: skip

LossByRate = Mapping[float, float]
"""Learning rate -> final validation loss, the mean over the seeds that all rates have; infinite if diverged."""


def search_results(config: TrainConfig) -> LossByRate | None:
    """Returns the results of the runs in ``lr_search_dir``, by rising rate; None without such a folder.

    Only runs that differ from this one in nothing but learning rate and seed count.

    Args:
        config: with precision and attention resolved.

    Raises:
        UserError: if there is no such run, one has not finished, no seed has all rates, or the task has no loss that
            runs are chosen by.
    """
    if config.lr_search_dir is None:
        return None
    if not issubclass(TASKS[config.task["name"]], LanguageModeling):
        raise UserError("lr_search_dir needs the validation loss of a language model; set optimizer.learning_rate")
    losses, rejected = _losses(config, Path(config.lr_search_dir))
    given = f"lr_search_dir={config.lr_search_dir}"
    if not losses:
        raise UserError(
            f"{given} has no finished run with position={config.position['name']} that differs from this one only in "
            f"learning rate and seed{rejected}; train some first (experiment=compare/grid), or set lr_search_dir=null"
        )
    seeds = set.intersection(*(set(by_seed) for by_seed in losses.values()))
    if not seeds:
        rates = "; ".join(f"{rate:g}: {', '.join(map(str, sorted(found)))}" for rate, found in sorted(losses.items()))
        raise UserError(
            f"{given} has no seed of position={config.position['name']} that was trained at all learning rates "
            f"(seeds of {rates}); train the same seed at each"
        )
    return {rate: mean(by_seed[seed] for seed in sorted(seeds)) for rate, by_seed in sorted(losses.items())}


def best_rate(losses: LossByRate) -> float:
    """Returns the learning rate with the lowest loss."""
    return min(losses, key=losses.__getitem__)


def describe_choice(losses: LossByRate, folder: str | None) -> str:
    """Returns where the learning rate comes from, and a warning if it is the lowest or the highest that was tried."""
    at_edge = best_rate(losses) in (min(losses), max(losses))
    return f"the best in {folder}" + (", at the edge of the rates tried" if at_edge else "")


def _losses(config: TrainConfig, folder: Path) -> tuple[dict[float, dict[int, float]], str]:
    """Returns learning rate -> seed -> loss, and why a run of the same encoding does not count, in brackets."""
    requested, rejected = migrate(yaml.safe_load(config.to_yaml())), ""
    losses: dict[float, dict[int, float]] = defaultdict(dict)
    for path in sorted(folder.glob("*")):
        run = RunFolder(path)
        stored = run.config
        if stored is None or stored["position"]["name"] != config.position["name"]:
            continue
        if found := first_difference(stored, requested, but=_MAY_DIFFER):
            rejected = " ({} has {}={}, not {})".format(path, *found)
            continue
        losses[float(stored["optimizer"]["learning_rate"])][stored["seed"]] = _final_loss(run)
    return losses, rejected


def _final_loss(run: RunFolder) -> float:
    """Returns the last validation loss of a finished run; infinite if it diverged.

    Raises:
        UserError: if it has not finished.
    """
    lines = run.metrics()
    if run.has_diverged:
        return math.inf
    if run.status != "finished":
        raise UserError(f"{run.path}, a run of lr_search_dir, has not finished; wait for it, or re-run its command")
    *_, last = (line["validation_loss"] for line in lines if "validation_loss" in line)
    return last if math.isfinite(last) else math.inf
