"""Tasks that are judged by one number: from results files to scores by dataset, each encoding at its best rate."""

from collections import defaultdict
from typing import Any

import numpy as np

from roformer.errors import UserError
from roformer.evaluation.comparability import (
    Result,
    differences_in_settings,
    label_runs,
    paired_by_seed,
    shared_settings,
)
from roformer.evaluation.statistics import correct_for_many, expected_best, interval

Trials = dict[float, dict[int, dict[str, Any]]]
"""Learning rate -> seed -> metrics."""


def compare_scores(results: list[Result], reference: str) -> dict[str, Any]:
    """Returns data -> what its runs scored, and the differences of all data as one family of tests."""
    parts = {}
    for data in dict.fromkeys(result["run"]["data"] for result in results):
        here = [result for result in results if result["run"]["data"] == data]
        trials = _trials(here)
        best = {label: _best_rate(of_rate) for label, of_rate in trials.items()}
        labels = label_runs(result["run"] for result in here)
        chosen = [each for each in here if each["run"]["learning_rate"] == best[labels[each["run"]["name"]]]]
        scores = {
            label: {seed: float(metrics["score"]) for seed, metrics in trials[label][rate].items()}
            for label, rate in best.items()
        }
        every = {
            label: [[float(metrics["score"]) for metrics in of_seed.values()] for of_seed in of_rate.values()]
            for label, of_rate in trials.items()
        }
        parts[data] = {
            "metric": chosen[0]["metrics"]["metric"],
            "test_documents": len(chosen[0]["metrics"]["labels"]),
            "guess": chosen[0]["metrics"]["guess"],
            "settings": shared_settings(chosen),
            "warnings": [*_unequal_trials(trials), *differences_in_settings(here, rates_chosen=True)],
            "encodings": {
                label: {
                    "seeds": list(of_seed),
                    "learning_rate": best[label],
                    "score": interval(list(of_seed.values())),
                    "difference": paired_by_seed(of_seed, scores[reference]) if label != reference in scores else None,
                    "trials": sum(map(len, every[label])),
                    "learning_rates": len(every[label]),
                    "best": max(max(values) for values in every[label]),
                    "expected_best": expected_best(every[label]),
                }
                for label, of_seed in scores.items()
            },
        }
    correct_for_many(each["difference"] for part in parts.values() for each in part["encodings"].values())
    return parts


def _trials(results: list[Result]) -> dict[str, Trials]:
    """Returns label -> learning rate -> seed -> metrics of the runs on one dataset."""
    labels = label_runs(result["run"] for result in results)
    trials: dict[str, Trials] = defaultdict(lambda: defaultdict(dict))
    for result in sorted(results, key=lambda result: (result["run"]["learning_rate"], result["run"]["seed"])):
        run = result["run"]
        trials[labels[run["name"]]][run["learning_rate"]][run["seed"]] = result["metrics"]
    return {label: trials[label] for label in sorted(trials)}


def _best_rate(trials: Trials) -> float:
    """Returns the learning rate that is best on validation, on average over the seeds that all of them have.

    Raises:
        UserError: if there is no such seed.
    """
    common = set.intersection(*(set(of_seed) for of_seed in trials.values()))
    if not common:
        rates = ", ".join(f"{rate:g}" for rate in trials)
        raise UserError(f"the runs at learning rates {rates} have no seed in common; train one at all of them")
    return max(trials, key=lambda rate: float(np.mean([trials[rate][seed]["validation"] for seed in common])))


def _unequal_trials(trials: dict[str, Trials]) -> list[str]:
    """Says where encodings have had other choices than others, or a rate other seeds."""
    seeds = {
        f"{label} at {rate:g}": tuple(of_seed) for label, rates in trials.items() for rate, of_seed in rates.items()
    }
    if len({tuple(of_rate) for of_rate in trials.values()}) == 1 == len(set(seeds.values())):
        return []
    return ["not all were tried alike: " + "; ".join(f"{name}: {list(found)}" for name, found in seeds.items())]
