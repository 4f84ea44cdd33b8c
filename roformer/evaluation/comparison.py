"""From results files to one comparison: means over seeds, paired differences, speed-ups. Plain JSON in and out."""

from typing import Any

import numpy as np

from roformer.config import EvaluateConfig
from roformer.evaluation import probes
from roformer.evaluation.comparability import (
    Result,
    differences_in_settings,
    group_runs,
    label_runs,
    paired_by_seed,
    shared_settings,
)
from roformer.evaluation.probes import BySeed
from roformer.evaluation.scores import compare_scores
from roformer.evaluation.statistics import (
    Interval,
    accuracy_interval,
    correct_for_many,
    first_crossing,
    interval,
    macro_f1_interval,
    paired_difference,
    paired_ratio,
)
from roformer.evaluation.translation import compare_translations
from roformer.tasks import TASKS
from roformer.tasks.classification import Classification
from roformer.tasks.language_modeling import LanguageModeling
from roformer.tasks.translation import Translation


def compare(results: list[Result], config: EvaluateConfig) -> dict[str, Any]:
    """Returns the comparison that a report is made of (``comparison.json`` beside it).

    Raises:
        UserError: if two runs of one task on the same data have the same encoding, seed and learning rate; of losses
            and accuracies, the same encoding and seed.
    """
    comparison: dict[str, Any] = {"schema_version": 4, "title": config.title, "reference": config.reference}
    comparison.update(_provenance(results))
    comparison["scores"] = compare_scores(
        [result for result in results if result["evaluator"] == "score"], config.reference
    )
    for part, kind, build in (("lm", LanguageModeling, _lm), ("classification", Classification, _classification)):
        of_kind = [
            each for each in results if issubclass(TASKS[each["run"]["task"]], kind) and not each["run"]["data"]
        ]
        comparison[part] = build(of_kind, config.reference) if of_kind else None
    translated = [result for result in results if result["evaluator"] in ("bleu", "training_curve")]
    translated = [result for result in translated if issubclass(TASKS[result["run"]["task"]], Translation)]
    comparison["translation"] = compare_translations(translated, config.reference) if translated else None
    return comparison


def _provenance(results: list[Result]) -> dict[str, Any]:
    first = results[0]["trained"]
    return {name: first[name] for name in ("hardware", "versions", "git_commit")}


def _lm(results: list[Result], reference: str) -> dict[str, Any]:
    groups = group_runs(results)
    encodings = {label: _lm_encoding(runs) for label, runs in groups.items()}
    labels = label_runs(result["run"] for result in results)
    for result in results:
        encodings[labels[result["run"]["name"]]]["position"] = result["run"]["position"]
    for label, runs in groups.items():
        other = groups.get(reference) if label != reference else None
        encodings[label]["difference"] = paired_by_seed(_losses(runs), _losses(other)) if other else None
        encodings[label]["race"] = _race(runs, other) if other else None
        encodings[label]["differences_by_length"] = probes.differences_by_length(runs, other) if other else {}
    correct_for_many(encoding["difference"] for encoding in encodings.values())
    correct_for_many(encoding["race"] and encoding["race"]["ratio"] for encoding in encodings.values())
    by_length = [encoding["differences_by_length"] for encoding in encodings.values()]
    for length in dict.fromkeys(length for each in by_length for length in each):
        correct_for_many(each[length] for each in by_length if length in each)
    seconds, reached = probes.at_equal_time(groups)
    for label, loss in reached.items():
        encodings[label]["loss_at_equal_time"] = loss
    return {
        "settings": shared_settings(results),
        "warnings": differences_in_settings(results),
        "equal_time": seconds,
        "learning_rates": _learning_rates(results),
        "encodings": encodings,
    }


def _learning_rates(results: list[Result]) -> dict[str, dict[str, Any]] | None:
    """Returns what each encoding's learning rate was chosen from: ``grid``, pairs of rate and validation loss, and the
    one that was ``taken``; None where it was not chosen so."""
    labels = label_runs(result["run"] for result in results)
    return {
        labels[result["run"]["name"]]: {
            "grid": result["trained"]["learning_rate_grid"], "taken": result["config"]["optimizer"]["learning_rate"],
        }
        for result in results
        if result["trained"].get("learning_rate_grid")
    } or None  # fmt: skip


def _losses(runs: BySeed) -> dict[int, float]:
    return {seed: float(metrics["lm_loss"]["loss"]) for seed, metrics in runs.items()}


def _race(runs: BySeed, reference: BySeed) -> dict[str, Any] | None:
    """Returns how soon an encoding and the reference reach the loss that all runs of the two reach, over the seeds
    that both have and whose runs were both above it when they were first evaluated; None where there is no such seed.
    Other encodings of the comparison play no part."""
    seeds = sorted(runs.keys() & reference.keys())
    if not seeds:
        return None
    curves = [(runs[seed]["training_curve"], reference[seed]["training_curve"]) for seed in seeds]
    target = max(min(curve["validation_loss"]) for pair in curves for curve in pair)
    reached = [
        [
            first_crossing(curve[axis], curve["validation_loss"], target)
            for axis in ("steps", "tokens")
            for curve in pair
        ]
        for pair in curves
    ]
    seen = [crossings for crossings in reached if None not in crossings]
    if not seen:
        return None
    steps, reference_steps, tokens, reference_tokens = zip(*seen, strict=True)
    return {
        "target_loss": target,
        "steps": interval(steps),
        "reference_steps": interval(reference_steps),
        "tokens": interval(tokens),
        "reference_tokens": interval(reference_tokens),
        "ratio": paired_ratio(steps, reference_steps),
    }


def _lm_encoding(runs: BySeed) -> dict[str, Any]:
    return {
        "seeds": list(runs),
        "parameters": next(iter(runs.values()))["lm_loss"]["parameters"],
        "loss": interval(list(_losses(runs).values())),
        "accuracy": interval([metrics["lm_loss"]["accuracy"] for metrics in runs.values()]),
        "tokens_per_second": interval([m["training_curve"]["tokens_per_second"] for m in runs.values()]),
        "curve": _curve([metrics["training_curve"] for metrics in runs.values()]),
        **probes.beyond_training(runs),
        "stretching": probes.stretching(runs),
        "attention_distance": probes.attention_distance(runs),
        "decay": probes.decay(runs),
    }


def _curve(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean curve over seeds, with bounds where there are several, at the steps that all have."""
    steps = sorted(set.intersection(*(set(curve["steps"]) for curve in curves)))
    points = [interval([curve["validation_loss"][curve["steps"].index(step)] for curve in curves]) for step in steps]
    several = len(curves) > 1
    return {
        "steps": steps,
        "tokens": [float(np.mean([c["tokens"][c["steps"].index(step)] for c in curves])) for step in steps],
        "mean": [point["mean"] for point in points],
        "low": [point["low"] for point in points] if several else None,
        "high": [point["high"] for point in points] if several else None,
    }


def _classification(results: list[Result], reference: str) -> dict[str, Any]:
    groups = group_runs(results)
    baselines = next(result["metrics"] for result in results if result["evaluator"] == "baselines")
    encodings = {label: _classifier(runs, groups.get(reference)) for label, runs in groups.items()}
    if reference in encodings:
        encodings[reference]["difference"] = None
    correct_for_many(encoding["difference"] for encoding in encodings.values())
    test_documents = len(next(iter(baselines.values()))["labels"])
    first = next(iter(next(iter(groups.values())).values()))
    labels = len(first["classification"]["label_names"])
    return {
        "settings": {**shared_settings(results), "labels": labels, "test_documents": test_documents},
        "warnings": differences_in_settings(results),
        "synthetic": _synthetic_documents(results),
        "encodings": encodings,
        "baselines": {
            name: {
                "accuracy": accuracy_interval(_correct(m)),
                "macro_f1": macro_f1_interval(m["labels"], m["predictions"]),
            }
            for name, m in baselines.items()
        },
    }


def _synthetic_documents(results: list[Result]) -> dict[str, Any] | None:
    """Returns what a reader needs to know of the documents that were drawn, or None where they were not."""
    for result in results:
        if result["evaluator"] == "synthetic":
            metrics = result["metrics"]
            words = result["config"]["data"]["length"]
            return {"cell": metrics["cell"], "guesses": metrics["guesses"], "training_words": words}
    return None


def _classifier(runs: BySeed, reference: BySeed | None) -> dict[str, Any]:
    metrics = [by_evaluator["classification"] for by_evaluator in runs.values()]
    if len(runs) == 1:
        accuracy = accuracy_interval(_correct(metrics[0]))
        macro_f1 = macro_f1_interval(metrics[0]["labels"], metrics[0]["predictions"])
    else:
        accuracy = interval([m["accuracy"] for m in metrics])
        macro_f1 = interval([m["macro_f1"] for m in metrics])
    return {
        "seeds": list(runs),
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "difference": _classifier_difference(runs, reference),
        "synthetic": probes.synthetic(runs),
        "tokens_per_second": interval([m["training_curve"]["tokens_per_second"] for m in runs.values()]),
    }


def _classifier_difference(runs: BySeed, reference: BySeed | None) -> Interval | None:
    """Accuracy less the reference's: over seeds, or with a single seed over the test documents."""
    seeds = sorted(runs.keys() & reference.keys()) if reference else []
    if not seeds or reference is None:
        return None
    pairs = [(runs[seed]["classification"], reference[seed]["classification"]) for seed in seeds]
    if len(pairs) > 1:
        return paired_difference([a["accuracy"] for a, _ in pairs], [b["accuracy"] for _, b in pairs])
    (ours, theirs), *_ = pairs
    difference = paired_difference(_correct(ours).astype(float), _correct(theirs).astype(float))
    return {**difference, "values": [difference["mean"]], "over": "examples"}


def _correct(metrics: dict[str, Any]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    return np.equal(metrics["labels"], metrics["predictions"])
