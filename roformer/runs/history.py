"""Configurations of earlier runs: read in today's terms, and compared with the one at hand."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from roformer.errors import UserError, one_line
from roformer.renamed import current_attention, current_data, current_position, current_training

Tree = dict[str, Any]
"""The content of a ``config.yaml``."""

# Settings of the trainer and of models that are younger than version 0.1, with what its runs did.
_YOUNGER = {
    "average_checkpoints": 1, "nonfinite": "stop", "nonfinite_limit": 10, "save_minutes": None, "max_minutes": None,
    "timeout_minutes": 2.0, "auto_batch": False, "eval_on_start": False, "compile": False,
}  # fmt: skip

_YOUNGER_OF_MODELS = {"local_attention": None, "global_attn_every_n_layers": 3}

# Settings of tasks and sources that are younger than version 0.1, by name.
_YOUNGER_OF_TASKS = {name: {"long_documents": "head"} for name in ("classification", "regression")}
_YOUNGER_OF_SOURCES: dict[str, Tree] = {"sentences": {"spans": None}}

_LENGTH = ("trainer.max_steps", "trainer.num_train_epochs")
_GROUPS = {"attention", "data", "optimizer", "position", "scheduler", "task", "trainer"}

# What may change between two parts of a run: it changes no weight, or (nonfinite) only where training would stop. Data
# are known by their content, wherever they lie.
_MAY_CHANGE = {
    "data.path", "paths", "tracker", "trainer.save_steps", "trainer.keep_checkpoints", "trainer.save_minutes",
    "trainer.max_minutes", "trainer.timeout_minutes", "trainer.nonfinite", "trainer.nonfinite_limit",
    "trainer.auto_batch",
}  # fmt: skip


def read_config(file: Path) -> Tree:
    """Returns the configuration in the ``config.yaml`` of a run, in today's terms.

    Raises:
        UserError: if this is no such file.
    """
    try:
        config: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not config.keys() >= _GROUPS:
            raise ValueError("it is not the configuration of a run of train.py")
        return migrate(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"{file} cannot be read ({one_line(error)}); restore it, rename it, or choose another folder"
        ) from error


def migrate(config: Tree) -> Tree:
    """Returns a configuration of any earlier version in today's terms: settings have today's names, and one that is
    younger than the run has the value that stands for what the run did."""
    config = current_training(config)
    data = current_data(config["data"])
    config["data"] = {"drop_repeated": False, **_YOUNGER_OF_SOURCES.get(data["name"], {}), **data}
    config["trainer"] = {**_YOUNGER, **config["trainer"]}
    config["model"] = {**_YOUNGER_OF_MODELS, **config["model"]}
    config["task"] = {**_YOUNGER_OF_TASKS.get(config["task"]["name"], {}), **config["task"]}
    config["position"] = current_position(config["position"])
    config["attention"] = current_attention(config["attention"])
    return config


def check_same_run(folder: Path, status: str, stored: Tree, config: Tree) -> None:
    """Raises ``UserError`` if the run in ``folder`` has other settings, naming the first that differs.

    Args:
        folder: of the run.
        status: of the run.
        stored: what the run was begun with.
        config: what it is asked to continue with.
    """
    may_change = _MAY_CHANGE
    if config["trainer"]["average_checkpoints"] > 1:  # save_steps decides which checkpoints are averaged
        may_change = may_change - {"trainer.save_steps", "trainer.keep_checkpoints"}
    if found := first_difference(stored, config, but=may_change):
        key, old, new = found
        finish = "" if status == "finished" else "finish it, then "
        start = f"{finish}init_from={folder} load_optimizer_state=true"
        longer = f" (to train longer: {start})" if key in _LENGTH else ""
        raise UserError(
            f"{folder} holds a run with {key}={old}, now it is {new}; set it back, choose another "
            f"paths.output_dir{longer}, or delete that folder"
        )


def first_difference(stored: Tree, config: Tree, *, but: Collection[str]) -> tuple[str, Any, Any] | None:
    """Returns the first setting ("optimizer.learning_rate") in which two configurations differ, with both values, or
    None.

    Args:
        but: groups and settings that may differ.
    """
    old, new = _flat(stored), _flat(config)
    names_first = sorted(old.keys() | new.keys(), key=lambda key: (not key.endswith(".name"), key))
    for key in names_first:
        if key not in but and key.split(".")[0] not in but and old.get(key) != new.get(key):
            return key, old.get(key), new.get(key)
    return None


def _flat(tree: Tree, prefix: str = "") -> Tree:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: Tree = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
