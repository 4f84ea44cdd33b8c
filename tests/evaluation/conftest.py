"""Results that look like those of real runs, and real runs that are tiny."""

import copy
import json

import pytest

from roformer.evaluation.comparison import compare
from roformer.evaluation.harness import evaluate
from roformer.results.comparison import comparison_to_json
from roformer.results.records import Record, RunInfo
from roformer.results.schema import from_json
from roformer.sections import in_page_order
from roformer.sections.evaluator import discover
from roformer.tasks import TASKS
from tests.tiny_runs import evaluation

ENCODINGS, SEEDS = ("rope", "none"), (1, 2)

CONFIG = {
    "seed": 1,
    "init_from": None,
    "model": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.02,
    },
    "position": {"name": "rope"},
    "attention": {"name": "sdpa"},
    "data": {"name": "text"},
    "tokenizer": {"name": "wordpiece"},
    "task": {"name": "mlm", "sequence_length": 32},
    "lr_search_dir": None,
    "optimizer": {"learning_rate": 0.001},
    "scheduler": {"name": "linear"},
    "trainer": {"batch_size": 8, "max_steps": 40, "num_train_epochs": 1, "precision": "fp32"},
    "tracker": {"name": "none"},
    "paths": {"output_dir": None},
}
TRAINED = {
    "hardware": {"cpu": "a", "cores": 1, "gpu": None, "memory_gib": 1},
    "versions": {"torch": "2"},
    "git_commit": "abc",
    "data_fingerprint": "f",
    "initial_weights": None,
    "learning_rate_grid": None,
}


def comparison_of(results, config):
    """The comparison of results files, given as plain JSON."""
    evaluators = discover()
    records = [
        Record(
            from_json(RunInfo, result["run"]),
            from_json(evaluators[result["evaluator"]].metrics, json.loads(json.dumps(result["metrics"]))),
            result["config"],
            result["trained"],
        )
        for result in results
    ]
    return compare(records, config, {"created": "now", "command": "evaluate", "git_commit": "def"})


def as_json(comparison):
    """What ``comparison.json`` holds."""
    return comparison_to_json(comparison, {name: section.version for name, section in in_page_order()})


def by_encoding(comparison):
    """Everything that the sections of a comparison, as JSON, say of each encoding."""
    found = {}
    for name, section in comparison["sections"].items():
        for label, entry in section["summary"].get("encodings", {}).items():
            own = entry if isinstance(entry, dict) and name not in ("rope_scaling", "synthetic") else {name: entry}
            found.setdefault(label, {}).update(own)
    return found


def summary(comparison, section):
    """The summary of a section, as JSON."""
    return comparison["sections"][section]["summary"]


def group(comparison, family="language_modeling"):
    """The first group of a family."""
    return next(each for each in comparison["groups"] if each["family"] == family)


@pytest.fixture
def result():
    """Makes one results file's content; keywords such as ``optimizer__learning_rate`` change its configuration."""

    def make(evaluator, metrics, *, position="rope", seed=1, name=None, task="mlm", **changes):
        config = copy.deepcopy(CONFIG)
        position = {"name": position} if isinstance(position, str) else position
        config.update(position=position, seed=seed)
        config["task"] = {"name": task, "sequence_length": 32} if task == "mlm" else {"name": task, "max_length": 32}
        for key, value in changes.items():
            group, _, setting = key.partition("__")
            config[group][setting] = value
        name = name or f"{task}-{'-'.join(map(str, position.values()))}-{seed}"
        data = metrics.pop("data", None)
        family = TASKS[task].family if data is None else "downstream"
        rate = config["optimizer"]["learning_rate"] if data else None
        run = {
            "name": name,
            "task": task,
            "family": family,
            "data": data,
            "learning_rate": rate,
            "position": position,
            "seed": seed,
            "is_random_start": False,
        }
        return {"evaluator": evaluator, "run": run, "metrics": metrics, "config": config, "trained": dict(TRAINED)}

    return make


@pytest.fixture
def mlm_results(result):
    """Makes the results of one MLM run: its test loss, and the validation loss at steps 10, 20, 30, 40, of a second
    each."""

    def make(loss, curve, **run):
        lengths = {str(32 * factor): {"loss": loss + factor, "predicted_tokens": 100} for factor in (1, 2, 4)}
        points = {"steps": [10, 20, 30, 40], "tokens": [1000, 2000, 3000, 4000], "validation_loss": curve}
        points["seconds"] = [10.0 * second for second in (1, 2, 3, 4)]
        beyond = {"windows": 5, "by_length": lengths, "by_position": [loss, loss + 2]}
        beyond |= {"sliding_window_loss": loss - 0.1, "is_bidirectional": True, "has_position_table": False}
        found = {
            "loss": loss,
            "accuracy": 0.5,
            "predicted_tokens": 9,
            "parameters": 77,
            "title": "MLM",
            "unit": "masked token",
        }
        found["per_document"] = {"documents": [0, 1], "losses": [4 * loss, 5 * loss + 0.5], "tokens": [4, 5]}
        return [
            result("length_extrapolation", beyond, **run),
            result("lm_loss", found, **run),
            result("learning_speed", {**points, "tokens_per_second": 50.0}, **run),
            result("attention_distance", {"rows": 9, "tokens": [[2 * loss, loss]], "uniform": 10.0}, **run),
        ]

    return make


@pytest.fixture
def classifier_results(result):
    """Makes the results of one classifier, with those of the baselines, from its predictions of these labels."""

    def make(predictions, labels, **run):
        accuracy = sum(p == label for p, label in zip(predictions, labels, strict=True)) / len(labels)
        scores = {"accuracy": accuracy, "macro_f1": accuracy / 2, "predictions": predictions, "labels": labels}
        curve = {"steps": [], "tokens": [], "seconds": [], "validation_loss": [], "tokens_per_second": 70.0}
        baselines = {"baselines": {"majority class": {"predictions": [0] * len(labels), "labels": labels}}}
        run["task"] = "classification"
        return [
            result("classification", {**scores, "loss": 1.0, "label_names": ["a", "b"]}, **run),
            result("learning_speed", curve, **run),
            result("baselines", baselines, **run),
        ]

    return make


@pytest.fixture(scope="session")
def runs(tiny_runs):
    """Two encodings with two seeds each: MLM runs, and classifiers that start from them."""
    folders = []
    for position in ENCODINGS:
        for seed in SEEDS:
            name, chosen = f"{position}-seed{seed}", (f"position={position}", f"seed={seed}")
            pretrained = tiny_runs.train(tiny_runs.folder / "compared" / f"mlm-{name}", *chosen)
            start = (f"init_from={pretrained}", "optimizer.learning_rate=0.01")
            finetuned = tiny_runs.folder / "compared" / f"topics-{name}"
            folders += [pretrained, tiny_runs.train(finetuned, *chosen, *start, task="classification")]
    return folders


@pytest.fixture(scope="session")
def report(runs):
    """The page of the comparison of all of them."""
    return evaluate(evaluation(runs))
