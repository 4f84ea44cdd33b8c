"""From results files to one comparison: means over seeds, paired differences, speed-ups. Plain JSON in and out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roformer.config import EvaluateConfig
from roformer.errors import UserError
from roformer.evaluation import probes
from roformer.evaluation.probes import BySeed
from roformer.evaluation.statistics import (
    Interval,
    accuracy_interval,
    correct_for_many,
    expected_best,
    first_crossing,
    interval,
    macro_f1_interval,
    paired_difference,
    paired_ratio,
)

Result = dict[str, Any]
# What may differ between the runs of one comparison; anything else is reported.
Trials = dict[float, dict[int, dict[str, Any]]]
"""Learning rate -> seed -> metrics."""

_VARIES = ("position", "seed", "init_from", "paths", "tracker", "tokenizer", "model.max_position_embeddings")

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "initializer_range")  # that a reader is told


def compare(results: list[Result], config: EvaluateConfig) -> dict[str, Any]:
    """Returns the comparison that a report is made of (``comparison.json`` beside it).

    Raises:
        UserError: if two runs of one task on the same data have the same encoding, seed and learning rate; of losses
            and accuracies, the same encoding and seed.
    """
    comparison: dict[str, Any] = {"schema_version": 3, "title": config.title, "reference": config.reference}
    comparison.update(_provenance(results))
    comparison["scores"] = _scores([result for result in results if result["evaluator"] == "score"], config.reference)
    for task, build in (("mlm", _mlm), ("classification", _classification)):
        of_task = [each for each in results if each["run"]["task"] == task and not each["run"]["data"]]
        comparison[task] = build(of_task, config.reference) if of_task else None
    return comparison


def _scores(results: list[Result], reference: str) -> dict[str, Any]:
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
            "settings": _settings(chosen),
            "warnings": [*_unequal_trials(trials), *_warnings(here, rates_chosen=True)],
            "encodings": {
                label: {
                    "seeds": list(of_seed),
                    "learning_rate": best[label],
                    "score": interval(list(of_seed.values())),
                    "difference": _pair(of_seed, scores[reference]) if label != reference in scores else None,
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
    """Returns label -> learning rate -> seed -> metrics of the runs on one data set."""
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


def _provenance(results: list[Result]) -> dict[str, Any]:
    first = results[0]["trained"]
    return {name: first[name] for name in ("hardware", "versions", "git_commit")}


def label_runs(runs: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Returns run's name -> label of its encoding. Encodings of one name but other settings are kept apart.

    Args:
        runs: ``Run.description`` of each; the same run may come several times.

    Raises:
        UserError: if two runs have the same label and nothing else that tells them apart.
    """
    known = {run["name"]: run for run in runs}
    settings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in known.values():
        if run["position"] not in settings[run["position"]["name"]]:
            settings[run["position"]["name"]].append(run["position"])
    labels = {name: _label(run["position"], settings[run["position"]["name"]]) for name, run in known.items()}
    first: dict[tuple[Any, ...], str] = {}
    for name, run in known.items():
        told = (run["task"], run["data"], labels[name], run["seed"], run["learning_rate"])
        other = first.setdefault(told, name)
        if other != name:
            raise UserError(
                f"runs {other} and {name} are both {labels[name]} with seed {run['seed']}; compare one of them at a "
                "time (narrow runs=)"
            )
    return labels


def _group(results: list[Result]) -> dict[str, BySeed]:
    """Returns label -> seed -> evaluator -> metrics."""
    labels = label_runs(result["run"] for result in results)
    groups: dict[str, BySeed] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        if result["evaluator"] != "baselines":
            run = result["run"]
            groups[labels[run["name"]]][run["seed"]][result["evaluator"]] = result["metrics"]
    return {label: {seed: groups[label][seed] for seed in sorted(groups[label])} for label in sorted(groups)}


def _label(position: dict[str, Any], variants: Sequence[dict[str, Any]]) -> str:
    """Returns the encoding's name, with the settings in which its variants differ."""
    keys = sorted({key for other in variants for key in other if other.get(key) != variants[0].get(key)})
    settings = ", ".join(f"{key}={position.get(key)}" for key in keys)
    return f"{position['name']} ({settings})" if settings else str(position["name"])


def _pair(values: dict[int, float], reference: dict[int, float]) -> Interval | None:
    seeds = sorted(values.keys() & reference.keys())
    return paired_difference([values[s] for s in seeds], [reference[s] for s in seeds]) if seeds else None


def _mlm(results: list[Result], reference: str) -> dict[str, Any]:
    groups = _group(results)
    encodings = {label: _mlm_encoding(runs) for label, runs in groups.items()}
    labels = label_runs(result["run"] for result in results)
    for result in results:
        encodings[labels[result["run"]["name"]]]["position"] = result["run"]["position"]
    for label, runs in groups.items():
        other = groups.get(reference) if label != reference else None
        encodings[label]["difference"] = _pair(_losses(runs), _losses(other)) if other else None
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
        "settings": _settings(results),
        "warnings": _warnings(results),
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
    return {seed: float(metrics["mlm_loss"]["loss"]) for seed, metrics in runs.items()}


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


def _mlm_encoding(runs: BySeed) -> dict[str, Any]:
    return {
        "seeds": list(runs),
        "parameters": next(iter(runs.values()))["mlm_loss"]["parameters"],
        "loss": interval(list(_losses(runs).values())),
        "accuracy": interval([metrics["mlm_loss"]["accuracy"] for metrics in runs.values()]),
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
    groups = _group(results)
    baselines = next(result["metrics"] for result in results if result["evaluator"] == "baselines")
    encodings = {label: _classifier(runs, groups.get(reference)) for label, runs in groups.items()}
    if reference in encodings:
        encodings[reference]["difference"] = None
    correct_for_many(encoding["difference"] for encoding in encodings.values())
    test_documents = len(next(iter(baselines.values()))["labels"])
    first = next(iter(next(iter(groups.values())).values()))
    labels = len(first["classification"]["label_names"])
    return {
        "settings": {**_settings(results), "labels": labels, "test_documents": test_documents},
        "warnings": _warnings(results),
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


def _settings(results: list[Result]) -> dict[str, Any]:
    """Returns the settings that a reader needs to judge the comparison, from the first run."""
    config = results[0]["config"]
    optimizer = config["optimizer"]
    bases = {r["run"]["position"].get("base") for r in results if r["run"]["position"]["name"] == "rope"}
    return {
        "data": Path(config["data"].get("path") or config["data"].get("dataset") or config["data"]["name"]).name,
        **{key: value for key, value in config["task"].items() if key in ("sequence_length", "max_length", "pooling")},
        **{key: config["trainer"][key] for key in ("batch_size", "max_steps", "num_train_epochs", "precision")},
        "learning_rate": "best of a grid" if optimizer.get("grid") else optimizer["learning_rate"],
        "schedule": config["scheduler"]["name"],
        **{key: config["model"][key] for key in _SIZES},
        "attention": config["attention"]["name"],
        **({"rope_base": bases.pop()} if len(bases) == 1 else {}),
    }


def _compared(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields name and value of every setting that runs of one comparison should share."""
    for group, settings in config.items():
        items = settings.items() if isinstance(settings, dict) else [(None, settings)]
        for key, value in items:
            name = f"{group}.{key}" if key else group
            chosen = name == "optimizer.learning_rate" and config[group].get("grid")  # by one rule for all
            if group not in _VARIES and name not in _VARIES and not chosen:
                yield prefix + name, str(value)


def _warnings(results: list[Result], *, rates_chosen: bool = False) -> list[str]:
    """Says in what the runs differ beside encoding and seed (and learning rate, where each encoding has its best), and
    which encodings lack a seed that another has."""
    values: dict[str, set[str]] = defaultdict(set)
    for result in results:
        trained = result["trained"]
        start = trained["initial_weights"]
        shared = [
            *_compared(result["config"]),
            *(_compared(start["config"], "their pretraining's ") if start and start["config"] else []),
            ("initial weights", "from init_from" if start else "drawn"),
            ("hardware", str(trained["hardware"])),
            ("git commit", str(trained["git_commit"])),
            ("versions", str(trained["versions"])),
            ("data fingerprint", str(trained["data_fingerprint"])),
        ]
        for name, value in shared:
            values[name].add(value)
    if rates_chosen:
        values.pop("optimizer.learning_rate", None)
    warnings = [
        f"the runs differ in {name}: {', '.join(sorted(found))}" for name, found in values.items() if len(found) > 1
    ]
    labels, rates = label_runs(result["run"] for result in results), defaultdict(set)
    for result in results if not rates_chosen else []:
        rates[labels[result["run"]["name"]]].add(result["config"]["optimizer"]["learning_rate"])
    warnings += [
        f"the seeds of {label} have different learning rates: {', '.join(f'{rate:g}' for rate in sorted(found))}"
        for label, found in rates.items()
        if len(found) > 1
    ]
    seeds = {label: tuple(runs) for label, runs in _group(results).items()}
    if len(set(seeds.values())) > 1:
        warnings.append(
            "not every encoding has the same seeds: " + "; ".join(f"{k}: {list(v)}" for k, v in seeds.items())
        )
    return warnings
