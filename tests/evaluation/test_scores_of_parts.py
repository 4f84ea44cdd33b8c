"""Tasks on parts of texts, entities and answers: from runs to the table of the page."""

import json

import pytest

from roformer.evaluation.harness import evaluate, load_run
from roformer.evaluation.runs import find_runs
from roformer.sections.downstream_score.measure import AnswerScore, DownstreamScore, EntityScore, Floors
from roformer.sections.entity_kinds.measure import EntityKinds
from tests.evaluation.conftest import summary
from tests.tiny_runs import evaluation

MEASURES = {"token_classification": EntityScore, "question_answering": AnswerScore}


@pytest.fixture(scope="module")
def runs(tiny_runs, tmp_path_factory):
    """Two encodings with each task."""
    out = tmp_path_factory.mktemp("parts")
    return [
        tiny_runs.train(out / f"{task}-{encoding}", f"position={encoding}", task=task)
        for task in MEASURES
        for encoding in ("rope", "none")
    ]


@pytest.mark.parametrize("task", MEASURES)
def test_the_score_is_that_of_the_test_split(runs, task):
    """Catches the score of another split or metric, and a choice of learning rates by test data."""
    (found,), _ = find_runs([str(next(run for run in runs if task in run.name))])
    loaded = load_run(found)
    metrics = MEASURES[task](evaluation([])).evaluate(loaded)
    test, validation = (loaded.task.evaluate(loaded.model, split) for split in ("test", "validation"))
    assert (metrics.score, metrics.validation) == (test["test_f1"], validation["validation_f1"])
    assert metrics.loss == pytest.approx(test["test_loss"])
    assert len(metrics.labels) == len(metrics.predictions) == len(loaded.task.corpus.splits["test"])
    if task == "token_classification":
        assert sum(metrics.predictions) / sum(metrics.labels) == test["test_recall"]
        assert metrics.majority == 0
    else:
        unanswerable = [answers == [""] for answers in loaded.task.answers("test")]
        assert metrics.majority == sum(unanswerable) / len(unanswerable)
        assert sum(metrics.predictions) / len(metrics.labels) == pytest.approx(metrics.score)


def test_each_task_has_one_measure_of_its_own(runs):
    """Catches a traceback of a measure that is about one label per document."""
    for run in runs:
        (found,), _ = find_runs([str(run)])
        measures = (*MEASURES.values(), DownstreamScore, Floors)
        fitting = [each for each in measures if each(evaluation([])).fits(found.config)]
        assert fitting == [MEASURES[found.task]]


def test_entities_are_counted_by_kind(runs):
    """Catches counts of another split, or kinds that do not add up to the score of all."""
    (found,), _ = find_runs([str(next(run for run in runs if "token_classification" in run.name))])
    loaded = load_run(found)
    kinds = EntityKinds(evaluation([])).evaluate(loaded).kinds
    right, predicted, total = (
        sum(getattr(each, name) for each in kinds.values()) for name in ("right", "predicted", "total")
    )
    scores = loaded.task.evaluate(loaded.model, "test")
    assert 2 * right / (predicted + total) == scores["test_f1"]
    assert right / total == scores["test_recall"]
    tags = {tag[2:] for tag in loaded.task.corpus.tags if tag != "O"}
    assert len(kinds) > 1
    assert kinds.keys() <= tags


def test_scores_reach_the_page(runs, tmp_path):
    """Catches a report without the new tasks, or one that cannot be drawn."""
    page = evaluate(evaluation(runs, output_dir=str(tmp_path)))
    html, comparison = page.read_text(), json.loads((page.parent / "comparison.json").read_text())
    assert "entity F1" in html
    (dataset,) = summary(comparison, "entity_kinds")["datasets"].values()
    assert dataset["encoding"] == "rope"
    for kind in dataset["kinds"].values():
        precision, recall, f1 = (kind[name]["mean"] for name in ("precision", "recall", "f1"))
        assert f1 == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))
    assert "answer F1" in html
    datasets = summary(comparison, "downstream_score")["datasets"]
    assert {data: found["metric"] for data, found in datasets.items()} == {
        "tagged": "entity F1", "questions": "answer F1",
    }  # fmt: skip
    assert all(found["encodings"].keys() == {"rope", "none"} for found in datasets.values())
