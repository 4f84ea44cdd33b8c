"""What the probes of runs (longer texts, stretched rotations, attention, synthetic documents) say, over seeds."""

from typing import Any

import numpy as np

from roformer.evaluation.statistics import Interval, correct_for_many, interval, paired_difference

BySeed = dict[int, dict[str, dict[str, Any]]]
"""seed -> evaluator -> metrics, of one encoding."""

UNSTRETCHED = "rope"


def beyond_training(runs: BySeed) -> dict[str, Any]:
    """Returns the loss by length of the window, by place in the longest one (empty where not all seeds take it), and
    with a sliding window of the training length (None where no test document is long enough)."""
    probes = [metrics["length_extrapolation"] for metrics in runs.values()]
    lengths = _common_lengths([probe["by_length"] for probe in probes])
    same_reach = len({len(probe["by_position"]) for probe in probes}) == 1
    places = zip(*(probe["by_position"] for probe in probes), strict=True) if same_reach else ()
    sliding = [probe["sliding"] for probe in probes]
    return {
        "loss_by_length": {
            length: interval([probe["by_length"][length]["loss"] for probe in probes]) for length in lengths
        },
        "loss_by_position": [interval(losses) for losses in places],
        "loss_sliding": None if None in sliding else interval(sliding),
        "windows": probes[0]["windows"],  # the same for all: they are of the data
    }


def differences_by_length(runs: BySeed, reference: BySeed) -> dict[str, Interval]:
    """Returns length -> the paired difference of the loss to the reference's, over the seeds that both have, at the
    lengths that all of them take."""
    seeds = sorted(runs.keys() & reference.keys())
    ours, theirs = ([each[seed]["length_extrapolation"]["by_length"] for seed in seeds] for each in (runs, reference))
    return {
        length: paired_difference(
            [probe[length]["loss"] for probe in ours], [probe[length]["loss"] for probe in theirs]
        )
        for length in (_common_lengths([*ours, *theirs]) if seeds else ())
    }


def stretching(runs: BySeed) -> dict[str, dict[str, Any]] | None:
    """Returns scaling -> length -> ``loss`` and its paired ``difference`` to no scaling (None for that itself); None
    where it was not measured. The differences are corrected for each other."""
    probes = [metrics["stretching"]["by_scaling"] for metrics in runs.values() if "stretching" in metrics]
    if not probes or not all(probes):
        return None
    table: dict[str, dict[str, Any]] = {}
    for scaling in probes[0]:
        table[scaling] = {}
        for length in _common_lengths([probe[scaling] for probe in probes]):
            losses, plain = ([probe[name][length] for probe in probes] for name in (scaling, UNSTRETCHED))
            difference = paired_difference(losses, plain) if scaling != UNSTRETCHED else None
            table[scaling][length] = {"loss": interval(losses), "difference": difference}
    correct_for_many(cell["difference"] for by_length in table.values() for cell in by_length.values())
    return table


def attention_distance(runs: BySeed) -> list[list[float]] | None:
    """Returns the mean distance in tokens, (layers, heads), over seeds, the heads of each layer sorted, since heads of
    two seeds do not correspond; None where it was not measured."""
    probes = [metrics["attention_distance"] for metrics in runs.values() if "attention_distance" in metrics]
    tables = [np.sort(probe["tokens"], axis=-1) for probe in probes]
    measured: list[list[float]] = np.mean(tables, axis=0).tolist() if tables else []
    return measured or None


def decay(runs: BySeed) -> dict[str, Any] | None:
    """Returns the ``distances``, and at each the mean over seeds of ``scores`` and of ``bounds``; None where they were
    not measured."""
    probes = [metrics["decay"] for metrics in runs.values() if "decay" in metrics]
    if not probes or not probes[0]["distances"]:
        return None
    means = {name: np.mean([probe[name] for probe in probes], axis=0).tolist() for name in ("scores", "bounds")}
    return {"distances": probes[0]["distances"], **means}


def synthetic(runs: BySeed) -> dict[str, dict[str, Any]] | None:
    """Returns length -> ``accuracy`` over all documents, and the mean accuracy in each of the ``cells``; None where
    the documents were not synthetic."""
    probes = [metrics["synthetic"]["by_length"] for metrics in runs.values() if "synthetic" in metrics]
    if not probes:
        return None
    return {
        length: {
            "accuracy": interval([float(np.mean(probe[length])) for probe in probes]),
            "cells": np.mean([probe[length] for probe in probes], axis=0).tolist(),
        }
        for length in _common_lengths(probes)
    }


def _common_lengths(probes: list[dict[str, Any]]) -> list[str]:
    """Returns the lengths that all seeds were measured at: a table of positions may end sooner in some."""
    return [length for length in probes[0] if all(length in probe for probe in probes)]


def loss_at(curve: dict[str, Any], seconds: float) -> float | None:
    """Returns the validation loss after so many seconds of training, interpolated; None before the first and after
    the last evaluation."""
    times = curve["seconds"]
    if not times or not times[0] <= seconds <= times[-1]:
        return None
    return float(np.interp(seconds, times, curve["validation_loss"]))


def at_equal_time(groups: dict[str, BySeed]) -> tuple[float | None, dict[str, Interval | None]]:
    """Returns the seconds after which the fastest run of all was done, and what each encoding had reached by then."""
    curves = {label: [m["training_curve"] for m in runs.values()] for label, runs in groups.items()}
    ends = [curve["seconds"][-1] for each in curves.values() for curve in each if curve["seconds"]]
    if not ends:
        return None, dict.fromkeys(groups)
    reached = {label: [loss_at(curve, min(ends)) for curve in each] for label, each in curves.items()}
    return min(ends), {
        label: interval([loss for loss in losses if loss is not None]) if None not in losses else None
        for label, losses in reached.items()
    }
