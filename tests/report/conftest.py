"""A comparison that looks like a small real one: RoPE clearly ahead, three seeds, both tasks."""

import numpy as np
import pytest

STUDENT_T = {2: 12.706, 3: 4.303}  # 97.5 % quantile by number of seeds


def interval(values, **more):
    """Mean and Student t interval over seeds, as the evaluation writes it."""
    mean, n = float(np.mean(values)), len(values)
    half = STUDENT_T[n] * float(np.std(values, ddof=1)) / n**0.5 if n > 1 else None
    low, high = (mean - half, mean + half) if half is not None else (None, None)
    return {"values": [float(value) for value in values], "mean": mean, "low": low, "high": high, **more}


def over_examples(mean, half):
    """The interval of one run, whose width comes from the test examples."""
    return {"values": [mean], "mean": mean, "low": mean - half, "high": mean + half, "over": "examples"}


def race(steps, reference_steps):
    """How soon an encoding and the reference reach the loss that both reach."""
    return {
        "target_loss": 5.75,
        "steps": interval(steps),
        "reference_steps": interval(reference_steps),
        "tokens": interval([4096 * step for step in steps]),
        "reference_tokens": interval([4096 * step for step in reference_steps]),
        "ratio": interval(np.array(steps) / reference_steps) | {"p_holm": 0.001 if len(steps) > 1 else None},
    }


def mlm_result(name, final, speed, seeds, reference):
    """One encoding: ``final`` loss per seed; ``speed`` stretches the learning curve; differences to ``reference``."""
    steps = np.arange(0, 601, 25)
    runs = np.stack([loss + (8.32 - loss) * np.exp(-steps * speed / 130) for loss in final])
    spread = 2.48 * runs.std(axis=0, ddof=1) if len(seeds) > 1 else None
    mean = runs.mean(axis=0)
    beyond = {"rope": 0.35, "sinusoidal": 0.9}.get(name, 0.5)
    lengths = {"128": final, "256": np.array(final) + beyond / 2, "512": np.array(final) + beyond}
    to_target = [round(250 / speed) + 4 * i for i in range(len(seeds))]
    difference = None
    if reference is not None and name != "rope":
        difference = interval(np.array(final) - reference["loss"]["values"])
        several = len(seeds) > 1
        difference |= dict.fromkeys(("p_value", "p_holm"), 0.0004 if several else None)
        difference["effect_size"] = -5.2 if several else None
    return {
        "seeds": seeds,
        "parameters": 1_234_567,
        "loss": interval(final),
        "accuracy": interval([0.6 - 0.07 * loss for loss in final]),
        "difference": difference,
        "race": race(to_target, [250 + 4 * i for i in range(len(seeds))]) if difference else None,
        "tokens_per_second": interval([21_345 - 150 * i for i in range(len(seeds))]),
        "curve": {
            "steps": steps.tolist(),
            "tokens": (4096 * steps).tolist(),
            "mean": mean.tolist(),
            "low": (mean - spread).tolist() if spread is not None else None,
            "high": (mean + spread).tolist() if spread is not None else None,
        },
        "loss_by_length": {
            key: interval(values) for key, values in lengths.items() if name != "learned" or key == "128"
        },
        "loss_by_position": [interval(np.array(final) + place / 9) for place in range(1 if name == "learned" else 4)],
        "differences_by_length": differences_by_length(difference, lengths),
        "loss_sliding": interval(np.array(final) - 0.02),
        "windows": 31,
        "position": {"name": name},
        "loss_at_equal_time": interval(np.array(final) + 0.1),
        "attention_distance": [[3.5, 20.25], [31.0, 41.5]],
        "decay": {"distances": [0, 1, 2], "scores": [8.0, 6.0, 4.0], "bounds": [40.0, 30.0, 10.0]}
        if name == "rope"
        else None,
        "stretching": stretched(final) if name == "rope" else None,
    }


def differences_by_length(difference, lengths):
    """The same difference at every length."""
    return dict.fromkeys(lengths, difference) if difference else {}


def stretched(final):
    """Losses at two lengths, without scaling and with YaRN, which gains 0.05 nats."""
    table = {}
    for scaling, gain in (("rope", 0.0), ("rope_yarn", 0.05)):
        table[scaling] = {}
        for length, beyond in (("256", 0.2), ("512", 0.4)):
            loss = interval(np.array(final) + beyond - gain)
            difference = interval([-gain] * len(final)) | {"p_value": 0.01, "p_holm": 0.02, "effect_size": -3.0}
            table[scaling][length] = {"loss": loss, "difference": difference if gain else None}
    return table


def make_lm(finals, seeds=(1, 2, 3)):
    """The MLM part; ``finals`` maps names to (loss of the first seed, learning speed)."""
    noise = np.array([0.0, 0.012, -0.009])[: len(seeds)]
    encodings, reference = {}, None
    for i, (name, (final, speed)) in enumerate(finals.items()):
        own = noise + 0.004 * np.roll(noise / 0.012, i)
        encodings[name] = mlm_result(name, (final + own).tolist(), speed, list(seeds), reference)
        reference = encodings.get("rope")
    settings = {"sequence_length": 128, "batch_size": 32, "max_steps": 600, "learning_rate": 0.001, "hidden_size": 128}
    settings |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 4096, "precision": "bf16"}
    grid = {"grid": [[0.001, 4.9], [0.002, 4.6]], "taken": 0.002}
    part = {"settings": settings, "warnings": [], "equal_time": 87.5, "learning_rates": {"rope": grid}}
    return {**part, "encodings": encodings}


def make_classification():
    """One seed, so that the intervals come from the test examples."""
    reference, other = (
        {
            "seeds": [1],
            "accuracy": over_examples(a, 0.03),
            "macro_f1": over_examples(a - 0.02, 0.03),
            "difference": None,
            "tokens_per_second": interval([18_250]),
            "synthetic": None,
        }
        for a in (0.713, 0.681)
    )
    other["difference"] = over_examples(-0.032, 0.028) | {"p_value": 0.027, "p_holm": 0.054, "effect_size": -0.13}
    baselines = {
        "majority class": {"accuracy": interval([0.184]), "macro_f1": interval([0.034])},
        "TF-IDF + logistic regression": {"accuracy": interval([0.742]), "macro_f1": interval([0.731])},
    }
    settings = {"data": "docs_topics", "max_length": 512, "epochs": 3, "labels": 9, "test_documents": 812}
    encodings = {"rope": reference, "sinusoidal": other}
    part = {"settings": settings, "warnings": ["One seed only."], "synthetic": None}
    return {**part, "encodings": encodings, "baselines": baselines}


def make_comparison(mlm, classification):
    return {
        "schema_version": 4,
        "created": "2026-11-22T03:00:00Z",
        "title": "demo",
        "reference": "rope",
        "hardware": {"cpu": "a processor", "cores": 2, "gpu": None, "memory_gib": 24},
        "versions": {"python": "3.11", "torch": "2.13.0", "numpy": "2.4.6"},
        "git_commit": "abc123",
        "evaluation_commit": "def456",
        "command": "python evaluate.py runs='outputs/demo/*'",
        "lm": mlm,
        "classification": classification,
        "scores": {},
        "translation": None,
    }


CLEAR = {"rope": (4.63, 1.0), "sinusoidal": (5.36, 0.48), "learned": (5.29, 0.53)}


@pytest.fixture
def comparison():
    """Both parts, three seeds for the first and one for the second; fresh for every test."""
    return make_comparison(make_lm(CLEAR), make_classification())


@pytest.fixture
def synthetic(comparison):
    """The same with classifiers of synthetic documents; one of them ends at its table."""
    guesses = {length: {"most frequent label": share} for length, share in (("30", 0.125), ("60", 0.25))}
    comparison["classification"]["synthetic"] = {
        "cell": "place of the pair", "guesses": guesses, "training_words": 15,
    }  # fmt: skip
    for name, lengths in (("rope", ("30", "60")), ("sinusoidal", ("30",))):
        comparison["classification"]["encodings"][name]["synthetic"] = {
            length: {"accuracy": interval([0.5 + int(length) / 300]), "cells": [0.2, 0.4, 0.6, 1.0]}
            for length in lengths
        }
    return comparison


@pytest.fixture
def one_seed():
    """The first part only, with one seed, hence without any interval."""
    return make_comparison(make_lm(CLEAR, seeds=(1,)), None)
