"""Which runs belong together: encodings by label, and in what runs differ beside encoding and seed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from roformer.config import data_name
from roformer.errors import UserError
from roformer.evaluation.probes import BySeed
from roformer.evaluation.statistics import Interval, paired_difference

Result = dict[str, Any]
"""The content of one results file."""

# What may differ between the runs of one comparison; anything else is reported.
_VARIES = ("position", "seed", "init_from", "paths", "tracker", "tokenizer", "model.max_position_embeddings")

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "initializer_range")  # that a reader is told


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


def group_runs(results: list[Result]) -> dict[str, BySeed]:
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


def paired_by_seed(values: dict[int, float], reference: dict[int, float]) -> Interval | None:
    seeds = sorted(values.keys() & reference.keys())
    return paired_difference([values[s] for s in seeds], [reference[s] for s in seeds]) if seeds else None


def shared_settings(results: list[Result]) -> dict[str, Any]:
    """Returns the settings that a reader needs to judge the comparison, from the first run."""
    config = results[0]["config"]
    bases = {r["run"]["position"].get("rope_theta") for r in results if r["run"]["position"]["name"] == "rope"}
    return {
        "data": data_name(config["data"]),
        "task": config["task"]["name"],
        **{key: value for key, value in config["task"].items() if key in ("sequence_length", "max_length", "pooling")},
        **{key: config["trainer"][key] for key in ("batch_size", "max_steps", "num_train_epochs", "precision")},
        "learning_rate": "best of a grid" if config.get("lr_search_dir") else config["optimizer"]["learning_rate"],
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
            chosen = name == "optimizer.learning_rate" and config.get("lr_search_dir")  # by one rule for all
            if group not in _VARIES and name not in _VARIES and not chosen:
                yield prefix + name, str(value)


def differences_in_settings(results: list[Result], *, rates_chosen: bool = False) -> list[str]:
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
    seeds = {label: tuple(runs) for label, runs in group_runs(results).items()}
    if len(set(seeds.values())) > 1:
        warnings.append(
            "not every encoding has the same seeds: " + "; ".join(f"{k}: {list(v)}" for k, v in seeds.items())
        )
    return warnings
