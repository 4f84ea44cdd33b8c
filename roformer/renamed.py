"""Names of version 0.1 and what they are called today: runs and exports that it wrote are read with today's names.

Only files are translated. On the command line and in Python an old name is an error that names the new one.
"""

from collections.abc import Mapping
from typing import Any

_ROPE = {
    "base": "rope_theta",
    "partial_factor": "partial_rotary_factor",
    "original_length": "original_max_position_embeddings",
}

POSITION_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rope": {**_ROPE, "pairs": "frequency_band"},
    "rope_dynamic": _ROPE,
    "rope_learned": _ROPE,
    "rope_linear": _ROPE,
    "rope_llama3": {**_ROPE, "low_turns": "low_freq_factor", "high_turns": "high_freq_factor"},
    "rope_longrope": {**_ROPE, "short_factors": "short_factor", "long_factors": "long_factor"},
    "rope_ntk": _ROPE,
    "rope_yarn": {**_ROPE, "fast_turns": "beta_fast", "slow_turns": "beta_slow"},
    "sinusoidal_rope": _ROPE,
    "xpos": _ROPE,
    "randomized": {"of": "base_encoding", "longest": "max_sampled_position"},
    "t5": {"buckets": "num_buckets"},
    "tupe": {"buckets": "num_buckets"},
}
"""Position encoding -> old setting -> new setting."""

ATTENTION_NAMES: Mapping[str, str] = {"linear_softmax": "efficient", "performer": "favor_plus"}
"""Old attention backend -> new attention backend."""

DATA_SOURCES: Mapping[str, str] = {"labelled": "labeled"}
"""Old data source -> new data source."""

EXPERIMENTS: Mapping[str, str] = {"paper/mlm_sane": "paper/mlm_tuned_lr"}
"""Old recipe -> new recipe."""

OPTIMIZER_SETTINGS: Mapping[str, str] = {
    "beta1": "optimizer.betas",
    "beta2": "optimizer.betas",
    "epsilon": "optimizer.eps",
    "grid": "lr_search_dir",
    "carry": "load_optimizer_state",
}
"""Old setting of the group optimizer -> new setting, with its group."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "attention": ATTENTION_NAMES,
    "data": DATA_SOURCES,
    "experiment": EXPERIMENTS,
}
"""Config group -> old file -> new file."""

_FREQUENCY_BANDS = {"fast": "high", "slow": "low"}


def current_position(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns position settings by today's names; settings that have them already stay as they are."""
    name = settings.get("name")
    if name == "rope" and "base" in settings:  # older than `pairs`, if it has none
        settings = {"pairs": "all", **settings}
    new_names = POSITION_SETTINGS.get(name, {}) if isinstance(name, str) else {}
    current = {new_names.get(key, key): value for key, value in settings.items()}
    if name == "rope" and "pairs" in settings:
        current["frequency_band"] = _FREQUENCY_BANDS.get(settings["pairs"], settings["pairs"])
    if name == "randomized" and isinstance(current.get("base_encoding"), Mapping):
        current["base_encoding"] = current_position(current["base_encoding"])
    return current


def current_attention_name(name: str) -> str:
    """Returns today's name of an attention backend."""
    return ATTENTION_NAMES.get(name, name)


def current_attention(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns attention settings by today's names, with those that are younger than the file."""
    current = {**settings, "name": current_attention_name(settings["name"])}
    if settings["name"] == "performer":
        current.setdefault("num_features", None)
    return current


def current_model_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what ``config.json`` of an export holds, by today's names."""
    current = dict(config)
    if isinstance(current.get("position"), Mapping):
        current["position"] = current_position(current["position"])
    if isinstance(current.get("attention_backend"), str):
        current["attention_backend"] = current_attention_name(current["attention_backend"])
    return current


def current_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns data settings by today's names, also of the sources inside a mixture."""
    current = {**settings, "name": DATA_SOURCES.get(settings["name"], settings["name"])}
    if "sources" in current:
        current["sources"] = [current_data(source) for source in current["sources"]]
    return current


def current_training(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run's configuration with the groups optimizer and scheduler, and what has left them, by today's names.

    Version 0.1 had one optimizer, AdamW, and kept the learning-rate search and the start from another run's optimizer
    state in its group.
    """
    optimizer, scheduler = dict(config["optimizer"]), dict(config["scheduler"])
    current = {**config, "optimizer": optimizer, "scheduler": scheduler}
    if "name" not in optimizer:
        optimizer.update(name="adamw", betas=[optimizer.pop("beta1"), optimizer.pop("beta2")])
        optimizer["eps"] = optimizer.pop("epsilon")
        current["lr_search_dir"] = optimizer.pop("grid", None)
        current["load_optimizer_state"] = optimizer.pop("carry", False)
        if scheduler["name"] == "polynomial":  # transformers' defaults
            scheduler.update(power=1.0, lr_end=1e-7)
    return current
