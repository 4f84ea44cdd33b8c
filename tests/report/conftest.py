"""A comparison that looks like a small real one: RoPE clearly ahead, three seeds, both tasks."""

import json

import numpy as np
import pytest

from roformer.results.comparison import SCHEMA_VERSION, comparison_from_json
from roformer.sections import SECTIONS, summary_kinds

STUDENT_T = {2: 12.706, 3: 4.303}  # 97.5 % quantile by number of seeds


def interval(values):
    """Mean and Student t interval over seeds, as the evaluation writes it."""
    mean, n = float(np.mean(values)), len(values)
    half = STUDENT_T[n] * float(np.std(values, ddof=1)) / n**0.5 if n > 1 else None
    low, high = (mean - half, mean + half) if half is not None else (None, None)
    return {"values": [float(value) for value in values], "mean": mean, "low": low, "high": high, "over": "seeds"}


def over_examples(mean, half):
    """The interval of one run, whose width comes from the test examples."""
    return {"values": [mean], "mean": mean, "low": mean - half, "high": mean + half, "over": "examples"}


def races(steps, reference_steps):
    """How soon an encoding and the reference reach two fixed losses."""
    return [
        {
            "target_loss": target,
            "steps": interval(np.multiply(steps, later)),
            "reference_steps": interval(reference_steps),
            "tokens": interval([4096 * step for step in steps]),
            "ratio": difference_of(np.array(steps) * later / reference_steps) | {"p_value": None, "p_holm": None},
        }
        for target, later in ((6.0, 1.5), (5.5, 1.0))
    ]


def mlm_results(name, final, speed, seeds, reference):
    """One encoding, by section: ``final`` loss per seed; ``speed`` stretches the learning curve."""
    steps = np.arange(0, 601, 25)
    runs = np.stack([loss + (8.32 - loss) * np.exp(-steps * speed / 130) for loss in final])
    spread = 2.48 * runs.std(axis=0, ddof=1) if len(seeds) > 1 else None
    mean = runs.mean(axis=0)
    beyond = {"rope": 0.35, "sinusoidal": 0.9}.get(name, 0.5)
    lengths = {"128": final, "256": np.array(final) + beyond / 2, "512": np.array(final) + beyond}
    to_target = [round(250 / speed) + 4 * i for i in range(len(seeds))]
    difference = None
    if reference is not None and name != "rope":
        difference = difference_of(np.array(final) - reference["loss"]["values"])
    curve = {
        "steps": steps.tolist(),
        "tokens": (4096 * steps).tolist(),
        "mean": mean.tolist(),
        "low": (mean - spread).tolist() if spread is not None else None,
        "high": (mean + spread).tolist() if spread is not None else None,
    }
    return {
        "lm_loss": {
            "parameters": 1_234_567,
            "loss": interval(final),
            "accuracy": interval([0.6 - 0.07 * loss for loss in final]),
            "difference": difference,
            "loss_bounds": None,
            "difference_bounds": None,
        },
        "learning_speed": {
            "tokens_per_second": interval([21_345 - 150 * i for i in range(len(seeds))]),
            "curve": curve,
            "by_seed": {},
            "loss_at_equal_wall_time": interval(np.array(final) + 0.1),
        },
        "length_extrapolation": {
            "loss_by_length": {n: interval(each) for n, each in lengths.items() if name != "learned" or n == "128"},
            "loss_by_position": [
                interval(np.array(final) + place / 9) for place in range(1 if name == "learned" else 4)
            ],
            "differences_by_length": dict.fromkeys(lengths, difference) if difference else {},
            "sliding_window_loss": interval(np.array(final) - 0.02),
            "has_position_table": name == "learned",
        },
        "steps_to_target": races(to_target, [250 + 4 * i for i in range(len(seeds))]) if difference else [],
        "attention_distance": [[3.5, 20.25], [31.0, 41.5]],
    }


def difference_of(values, p_value=0.0004):
    """A paired difference to the reference."""
    return interval(values) | dict.fromkeys(("p_value", "p_holm"), p_value if len(values) > 1 else None)


def scaled(final):
    """Losses at two lengths, without scaling and with YaRN, which gains 0.05 nats."""
    table = {}
    for scaling, gain in (("rope", 0.0), ("rope_yarn", 0.05)):
        table[scaling] = {}
        for length, beyond in (("256", 0.2), ("512", 0.4)):
            loss = interval(np.array(final) + beyond - gain)
            difference = difference_of([-gain] * len(final), 0.02) if gain else None
            table[scaling][length] = {"loss": loss, "difference": difference}
    return table


def make_lm(finals, seeds=(1, 2, 3)):
    """Group and sections of masked language models; ``finals`` maps names to (loss of the first seed, speed)."""
    noise = np.array([0.0, 0.012, -0.009])[: len(seeds)]
    found, reference, finals_of = {}, None, {}
    for i, (name, (final, speed)) in enumerate(finals.items()):
        finals_of[name] = (final + noise + 0.004 * np.roll(noise / 0.012, i)).tolist()
        found[name] = mlm_results(name, finals_of[name], speed, list(seeds), reference)
        reference = found.get("rope", {}).get("lm_loss")
    settings = {"sequence_length": 128, "batch_size": 32, "max_steps": 600, "learning_rate": 0.001, "hidden_size": 128}
    settings |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 4096, "precision": "bf16"}
    order = sorted(finals, key=lambda name: (name != "rope", finals[name][0]))
    encodings = {name: {"seeds": list(seeds), "position": {"name": name}} for name in order}
    group = {"family": "language_modeling", "data": None, "settings": settings, "warnings": [], "encodings": encodings}

    def of(section):
        return {name: each[section] for name, each in found.items()}

    decay = {"distances": [0, 1, 2], "scores": [8.0, 6.0, 4.0], "bounds": [40.0, 30.0, 10.0]}
    sections = {
        "lm_loss": {"title": "MLM", "unit": "masked token", "encodings": of("lm_loss")},
        "learning_speed": {"equal_wall_time": 87.5, "encodings": of("learning_speed")},
        "steps_to_target": {"floor": 6.6, "encodings": of("steps_to_target")},
        "lr_search": {"encodings": {"rope": {"grid": [[0.001, 4.9], [0.002, 4.6]], "selected": 0.002}}},
        "length_extrapolation": {"windows": 31, "is_bidirectional": True, "encodings": of("length_extrapolation")},
        "rope_scaling": {"encodings": {"rope": scaled(finals_of["rope"])}},
        "attention_distance": {"uniform": 42.7, "encodings": of("attention_distance")},
        "long_term_decay": {"encodings": {"rope": decay}},
    }
    return group, sections


def make_classification():
    """Group and section of classifiers; one seed, so that the intervals come from the test examples."""
    reference, other = (
        {
            "accuracy": over_examples(a, 0.03),
            "macro_f1": over_examples(a - 0.02, 0.03),
            "difference": None,
            "tokens_per_second": interval([18_250]),
        }
        for a in (0.713, 0.681)
    )
    other["difference"] = over_examples(-0.032, 0.028) | {"p_value": 0.027, "p_holm": 0.054}
    baselines = {
        "majority class": {"accuracy": interval([0.184]), "macro_f1": interval([0.034])},
        "TF-IDF + logistic regression": {"accuracy": interval([0.742]), "macro_f1": interval([0.731])},
    }
    names = ("rope", "sinusoidal")
    encodings = {name: {"seeds": [1], "position": {"name": name}} for name in names}
    settings = {"data": "docs_topics", "max_length": 512, "epochs": 3}
    group = {"family": "classification", "data": None, "settings": settings, "warnings": ["One seed only."]}
    summary = {"labels": 9, "test_documents": 812, "encodings": dict(zip(names, (reference, other), strict=True))}
    return group | {"encodings": encodings}, {"classification": summary | {"baselines": baselines}}


def make_comparison(*parts):
    return {
        "schema_version": SCHEMA_VERSION,
        "title": "demo",
        "reference": "rope",
        "origin": {
            "created": "2026-11-22T03:00:00Z",
            "command": "python evaluate.py runs='outputs/demo/*'",
            "evaluation_commit": "def456",
            "git_commit": "abc123",
            "hardware": {"cpu": "a processor", "cores": 2, "gpu": None, "memory_gib": 24},
            "versions": {"python": "3.11", "torch": "2.13.0", "numpy": "2.4.6"},
        },
        "groups": [group for group, _ in parts],
        "sections": {
            name: {"version": SECTIONS[name].version, "summary": summary}
            for _, sections in parts
            for name, summary in sections.items()
        },
    }


def summary(comparison, section):
    """The summary of a section, to be changed in place."""
    return comparison["sections"][section]["summary"]


def encodings(comparison, section="lm_loss"):
    """What a section says of each encoding, to be changed in place."""
    return summary(comparison, section)["encodings"]


def drop(comparison, family):
    """Removes a family and its sections."""
    comparison["groups"] = [group for group in comparison["groups"] if group["family"] != family]
    for name in [name for name in comparison["sections"] if SECTIONS[name].family == family]:
        del comparison["sections"][name]


def rename(comparison, old, new):
    """Gives an encoding another name everywhere."""
    for place in (*comparison["groups"], *(each["summary"] for each in comparison["sections"].values())):
        place["encodings"] = {new if name == old else name: each for name, each in place["encodings"].items()}


def loaded(comparison):
    """The comparison that JSON is read back as."""
    return comparison_from_json(json.loads(json.dumps(comparison)), summary_kinds())


CLEAR = {"rope": (4.63, 1.0), "sinusoidal": (5.36, 0.48), "learned": (5.29, 0.53)}


@pytest.fixture
def comparison():
    """Both parts, three seeds for the first and one for the second; fresh for every test."""
    return make_comparison(make_lm(CLEAR), make_classification())


@pytest.fixture
def synthetic(comparison):
    """The same with classifiers of synthetic documents; one of them ends at its table."""
    guesses = {length: {"most frequent label": share} for length, share in (("30", 0.125), ("60", 0.25))}
    found = {
        name: {n: {"accuracy": interval([0.5 + int(n) / 300]), "cells": [0.2, 0.4, 0.6, 1.0]} for n in lengths}
        for name, lengths in (("rope", ("30", "60")), ("sinusoidal", ("30",)))
    }
    content = {"cell": "place of the pair", "baselines": guesses, "training_words": 15, "encodings": found}
    comparison["sections"]["synthetic"] = {"version": SECTIONS["synthetic"].version, "summary": content}
    return comparison


@pytest.fixture
def one_seed():
    """The first part only, with one seed, hence without any interval."""
    return make_comparison(make_lm(CLEAR, seeds=(1,)))
