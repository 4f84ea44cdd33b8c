"""Which runs belong together: encodings by label, and in what runs differ besides encoding and seed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from roformer.config import data_name
from roformer.errors import UserError
from roformer.results.records import Record, RunInfo, Settings

# What may differ between the runs of one comparison; anything else is reported.
_VARIES = ("position", "seed", "init_from", "paths", "tracker", "tokenizer", "model.max_position_embeddings")

_OF_TASKS = ("sequence_length", "max_length", "long_documents", "pooling")  # that the page shows
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "initializer_range")  # that the page shows

Seeds = Mapping[str, Sequence[int]]
"""Label of an encoding -> seeds of its runs."""


def label_runs(runs: Iterable[RunInfo]) -> dict[str, str]:
    """Returns run's name -> label of its encoding. Encodings of one name but other settings are kept apart, and so are
    runs from a random start where others start from a pretrained model.

    Args:
        runs: the same run may come several times.

    Raises:
        UserError: if two runs have the same label and nothing else that distinguishes them.
    """
    known = {run.name: run for run in runs}
    settings: dict[str, list[Settings]] = defaultdict(list)
    for run in known.values():
        if run.position not in settings[run.position["name"]]:
            settings[run.position["name"]].append(run.position)
    mixed = len({run.is_random_start for run in known.values()}) > 1
    labels = {
        name: _label(run.position, settings[run.position["name"]], random_start=mixed and run.is_random_start)
        for name, run in known.items()
    }
    first: dict[tuple[Any, ...], str] = {}
    for name, run in known.items():
        key = (run.task, run.data, labels[name], run.seed, run.learning_rate)
        other = first.setdefault(key, name)
        if other != name:
            raise UserError(
                f"runs {other} and {name} are both {labels[name]} with seed {run.seed}; compare one of them at a time "
                "(narrow runs=)"
            )
    return labels


def _label(position: Settings, variants: Sequence[Settings], *, random_start: bool) -> str:
    """Returns the encoding's name, with the settings in which its variants differ."""
    keys = sorted({key for other in variants for key in other if other.get(key) != variants[0].get(key)})
    settings = [f"{key}={position.get(key)}" for key in keys] + ["random start"] * random_start
    return f"{position['name']} ({', '.join(settings)})" if settings else str(position["name"])


def seeds_of(records: Sequence[Record[Any]], labels: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Returns label -> seeds of its runs; both sorted."""
    found: dict[str, set[int]] = defaultdict(set)
    for record in records:
        found[labels[record.run.name]].add(record.run.seed)
    return {label: tuple(sorted(found[label])) for label in sorted(found)}


def shared_settings(records: Sequence[Record[Any]]) -> Settings:
    """Returns the settings that a reader needs to judge the comparison, from the first run."""
    config = records[0].config
    rates = {record.run.learning_rate for record in records}
    selected = config.get("lr_search_dir") or len(rates) > 1
    thetas = {record.run.position.get("rope_theta") for record in records if record.run.position["name"] == "rope"}
    return {
        "data": data_name(config["data"]),
        "task": config["task"]["name"],
        **{key: value for key, value in config["task"].items() if key in _OF_TASKS},
        "batch_size": config["trainer"]["batch_size"],
        **_budget(config["trainer"]),
        "precision": config["trainer"]["precision"],
        "learning_rate": "best of a grid" if selected else config["optimizer"]["learning_rate"],
        "schedule": config["scheduler"]["name"],
        **{key: config["model"][key] for key in _SIZES},
        "attention": config["attention"]["name"],
        **({"rope_theta": thetas.pop()} if len(thetas) == 1 else {}),
    }


def _budget(trainer: Settings) -> Settings:
    """Returns the setting that ends a training: a number of steps beats one of epochs."""
    key = "num_train_epochs" if trainer["max_steps"] is None else "max_steps"
    return {key: trainer[key]}


def _compared(config: Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields name and value of every setting that runs of one comparison should share."""
    for group, settings in config.items():
        items = settings.items() if isinstance(settings, dict) else [(None, settings)]
        for key, value in items:
            name = f"{group}.{key}" if key else group
            selected = name == "optimizer.learning_rate" and config.get("lr_search_dir")  # by one rule for all
            if group not in _VARIES and name not in _VARIES and not selected:
                yield prefix + name, str(value)


def differences_in_settings(
    records: Sequence[Record[Any]], labels: Mapping[str, str], *, rates_selected: bool
) -> tuple[str, ...]:
    """Says in what runs differ besides encoding and seed, and which encodings lack a seed that another has.

    Args:
        records: of the runs that are compared.
        labels: run's name -> label of its encoding.
        rates_selected: whether the comparison selects each encoding's learning rate.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for record in records:
        trained = record.trained
        start = trained["initial_weights"]
        shared = [
            *_compared(record.config),
            *(_compared(start["config"], "their pretraining's ") if start and start["config"] else []),
            ("initial weights", "from init_from" if start else "drawn"),
            ("hardware", str(trained["hardware"])),
            ("git commit", str(trained["git_commit"])),
            ("versions", str(trained["versions"])),
            ("data fingerprint", str(trained["data_fingerprint"])),
        ]
        for name, value in shared:
            values[name].add(value)
    if rates_selected:
        values.pop("optimizer.learning_rate", None)
    of_data = {warning for record in records for warning in record.trained.get("data_warnings", ())}
    warnings = sorted(of_data) + [
        f"the runs differ in {name}: {', '.join(sorted(found))}" for name, found in values.items() if len(found) > 1
    ]
    rates: dict[str, set[float]] = defaultdict(set)
    for record in records if not rates_selected else ():
        rates[labels[record.run.name]].add(record.config["optimizer"]["learning_rate"])
    warnings += [
        f"the seeds of {label} have different learning rates: {', '.join(f'{rate:g}' for rate in sorted(found))}"
        for label, found in rates.items()
        if len(found) > 1
    ]
    seeds = seeds_of(records, labels)
    if len(set(seeds.values())) > 1:
        warnings.append(
            "not every encoding has the same seeds: " + "; ".join(f"{k}: {list(v)}" for k, v in seeds.items())
        )
    return tuple(warnings)
