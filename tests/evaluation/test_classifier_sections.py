"""What the report of classifiers shows of their mistakes: confusion, calibration, the hardest documents, the curve."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from roformer.evaluation.harness import evaluate, load_run
from roformer.evaluation.runs import find_runs
from roformer.report.figure import Figure
from roformer.report.page import html, markdown, page_parts
from roformer.report.table import Table
from roformer.results.comparison import comparison_from_json
from roformer.sections import in_page_order, summary_kinds
from roformer.sections.calibration import BINS, bins_of, calibration_error
from roformer.sections.calibration.measure import Probabilities, excerpt
from roformer.sections.confusion import SHOWN
from tests.evaluation.conftest import as_json, comparison_of, summary
from tests.tiny_runs import evaluation


@pytest.fixture(scope="module")
def run(tiny_runs, tmp_path_factory):
    """A classifier that has learned something."""
    folder = tmp_path_factory.mktemp("classified") / "run"
    more = ("optimizer.learning_rate=0.01", "trainer.max_steps=20")
    return tiny_runs.train(folder, *more, task="classification")


@pytest.fixture(scope="module")
def loaded(run):
    (found,), _ = find_runs([str(run)])
    return load_run(found)


@pytest.fixture
def compared(run, tmp_path):
    """Evaluates the run; returns the folder of the report, the comparison as JSON, and as the page reads it."""

    def evaluated(**settings):
        report = evaluate(evaluation([run], output_dir=str(tmp_path / "compared"), **settings)).parent
        content = json.loads((report / "comparison.json").read_text())
        return report, content, comparison_from_json(content, summary_kinds())

    return evaluated


def measured(loaded, **settings):
    return Probabilities(evaluation([], **settings)).evaluate(loaded)


def test_the_confusion_matrix_is_that_of_scikit_learn(compared, loaded):
    """Catches true and predicted classes that are swapped, and documents of another split."""
    _, content, comparison = compared()
    found = summary(content, "confusion")
    predictions, _ = loaded.task.predict(loaded.model, "test")
    assert found["counts"] == confusion_matrix(loaded.task.labels("test"), predictions).tolist()
    assert np.sum(found["counts"]) == len(loaded.task.corpus.splits["test"])
    assert (found["encoding"], found["names"]) == ("rope", ["forest", "kitchen", "sea"])
    blocks = [block for part in page_parts(comparison, in_page_order()) for block in part.blocks]
    (table,) = (block for block in blocks if isinstance(block, Table) and block.name == "confusion")
    for place, (row, counts) in enumerate(zip(table.rows, found["counts"], strict=False)):
        assert row[1:4] == tuple(map(str, counts))
        assert float(row[-1]) == pytest.approx(100 * counts[place] / sum(counts), abs=0.05)
    columns = np.array(found["counts"])
    expected = [100 * columns[i, i] / columns[:, i].sum() if columns[:, i].sum() else None for i in range(3)]
    precisions = [None if cell == "–" else float(cell) for cell in table.rows[-1][1:4]]
    assert precisions == [None if each is None else pytest.approx(each, abs=0.05) for each in expected]


def test_seeds_are_summed_for_the_reference(classifier_results):
    """Catches counts of one seed, and of another encoding than the title says."""
    labels = [0, 0, 1, 1]
    results = [
        *classifier_results([0, 1, 1, 1], labels, seed=1),
        *classifier_results([0, 0, 1, 0], labels, seed=2),
        *classifier_results([1, 1, 0, 0], labels, position="none", seed=1),
    ]
    found = summary(as_json(comparison_of(results, evaluation([]))), "confusion")
    assert (found["encoding"], found["seeds"], found["counts"]) == ("rope", 2, [[3, 1], [1, 3]])
    found = summary(as_json(comparison_of(results[-3:], evaluation([]))), "confusion")
    assert (found["encoding"], found["seeds"], found["counts"]) == ("none", 1, [[0, 2], [2, 0]])


def test_rare_classes_become_one(classifier_results):
    """Catches a table of a hundred columns, and documents that are lost with the classes."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.repeat(np.arange(40), np.arange(1, 41))])
    predictions = rng.integers(0, 40, len(labels))
    results = classifier_results(predictions.tolist(), labels.tolist())
    results[0]["metrics"]["label_names"] = [f"class {number}" for number in range(40)]
    found = summary(as_json(comparison_of(results, evaluation([]))), "confusion")
    assert found["names"] == [*(f"class {number}" for number in range(40 - SHOWN + 1, 40)), "26 rarer classes"]
    whole = confusion_matrix(labels, predictions)
    assert np.array(found["counts"])[:-1, :-1].tolist() == whole[26:, 26:].tolist()
    assert found["counts"][-1][-1] == whole[:26, :26].sum()
    assert np.sum(found["counts"]) == len(labels)


@pytest.mark.parametrize("right", [0.0, 0.4, 1.0])
def test_the_calibration_error_is_that_of_the_formula(right):
    """Catches bins of equal size instead of equal width, empty bins that count, and a model that is always right or
    always wrong."""
    rng = np.random.default_rng(0)
    confidences, correct = rng.uniform(0.3, 1.0, 500), rng.random(500) < right
    numbers = np.ceil(confidences * BINS)  # bins are closed on the right
    expected = sum(
        np.mean(numbers == number) * abs(confidences[numbers == number].mean() - correct[numbers == number].mean())
        for number in np.unique(numbers)
    )
    bins = bins_of(confidences.tolist(), correct.tolist())
    assert calibration_error(bins) == pytest.approx(expected)
    assert sum(each.documents for each in bins) == 500
    assert len(bins) < BINS


def test_probabilities_are_those_of_the_predictions(loaded):
    """Catches logits in the place of probabilities, and confidences that do not belong to their documents."""
    found = measured(loaded)
    scores, _ = loaded.task.score(loaded.model, "test")
    powers = np.exp(scores[:, 0].astype(np.float64))
    probabilities, labels = powers / powers.sum(-1, keepdims=True), loaded.task.labels("test")
    assert found.confidences == pytest.approx(probabilities.max(-1), rel=1e-5)
    assert found.correct == tuple((scores[:, 0].argmax(-1) == labels).tolist())
    assert 0 < np.mean(found.correct) < 1


def test_the_hardest_documents_are_those_of_the_highest_loss(loaded):
    """Catches the easiest documents, probabilities of another class, and words of another document."""
    found = measured(loaded, hardest_documents=5).hardest
    scores, loss = loaded.task.score(loaded.model, "test")
    logits, labels = scores[:, 0].astype(np.float64), loaded.task.labels("test")
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    assert losses.mean() == pytest.approx(loss, rel=1e-5)
    assert [each.loss for each in found] == pytest.approx(sorted(losses, reverse=True)[:5], rel=1e-4)
    names = loaded.task.corpus.label_names
    for each in found:
        assert each.label == names[labels[each.number]]
        assert each.prediction == names[logits[each.number].argmax()]
        assert each.label_probability == pytest.approx(np.exp(-each.loss))
        assert each.prediction_probability >= each.label_probability
        tokens = loaded.task.corpus.splits["test"].document(each.number)
        words = loaded.task.tokenizer.decode(tokens[:60].tolist())
        assert each.excerpt == words or words.startswith(each.excerpt.removesuffix("…"))
        assert 10 < len(each.excerpt) <= 100


def test_an_excerpt_is_one_line(loaded, monkeypatch):
    """Catches a table that is broken by a text with line breaks, or a page by a control character."""
    monkeypatch.setattr(type(loaded.task.tokenizer), "decode", lambda *_: "a\n| b\x00\u2028 <i>c</i>")
    assert excerpt(loaded.task, 0) == "a | b <i>c</i>"


def test_an_excerpt_of_chinese_has_no_blanks(loaded, monkeypatch):
    """Catches tokens that stand apart, half of which then fit."""
    decoded = "这 款 软件 ， 支持 Android 和 iPhone ( 实时 )"
    monkeypatch.setattr(type(loaded.task.tokenizer), "decode", lambda *_: decoded)
    assert excerpt(loaded.task, 0) == "这款软件，支持 Android 和 iPhone ( 实时 )"


def test_texts_are_kept_out_of_the_report(compared, capsys):
    """Catches excerpts that stay in results/ or the page after they were switched off, and all other measurements
    that are made again for it."""
    report, content, comparison = compared()
    hardest = summary(content, "hardest_documents")["documents"]
    assert len(hardest) == 3
    assert hardest[0]["excerpt"] in markdown(comparison, in_page_order())
    capsys.readouterr()
    report, content, comparison = compared(hardest_documents=0)
    assert [line for line in capsys.readouterr().out.splitlines() if line.endswith(": run")] == ["calibration: run"]
    assert "hardest_documents" not in content["sections"]
    written = [path for path in report.parent.rglob("*") if path.suffix in (".json", ".html", ".md")]
    assert len(written) >= 6
    assert not [path for path in written if hardest[0]["excerpt"][:25] in path.read_text()]


def test_each_picture_is_drawn(compared):
    """Catches a section that is measured and not shown, and a drawing that fails at the width of a phone."""
    report, _, comparison = compared()
    figures = {path.stem for path in (report / "figures").glob("*.svg")}
    assert {"confusion", "reliability", "fine_tuning"} <= figures
    parts = page_parts(comparison, in_page_order())
    (part,) = (part for part in parts if part.heading == "Classification")
    names = [block.name for block in part.blocks if isinstance(block, Table | Figure)]
    assert names == [
        "classification", "accuracy", "confusion", "confusion", "calibration", "reliability", "hardest_documents",
        "fine_tuning",
    ]  # fmt: skip
    assert "Expected calibration error (15 bins)" in html(comparison, in_page_order())


def test_the_curve_is_that_of_the_run(run, compared):
    """Catches the curve of a pretraining run, and losses at other steps."""
    _, content, _ = compared()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if "validation_loss" in line]
    curve = summary(content, "fine_tuning")["curves"]["rope"]
    assert curve["steps"] == [line["step"] for line in evaluated]
    assert curve["mean"] == pytest.approx([line["validation_loss"] for line in evaluated])


def test_the_pictures_show_the_numbers_of_the_tables(compared):
    """Catches axes that are swapped, an encoding or a class at another's place, and a diagonal of something else."""
    _, content, comparison = compared()
    blocks = [block for part in page_parts(comparison, in_page_order()) for block in part.blocks]
    drawn = {block.name: block.draw(900).axes[0] for block in blocks if isinstance(block, Figure)}
    diagonal, curve = (line.get_xydata().tolist() for line in drawn["reliability"].lines[:2])
    assert diagonal == [[0, 0], [1, 1]]
    bins = summary(content, "calibration")["encodings"]["rope"]["bins"]
    assert curve == [[each["confidence"], each["share_right"]] for each in bins]
    assert len(bins) > 2
    counts = np.array(summary(content, "confusion")["counts"])
    shades = np.zeros((3, 3))
    for square in drawn["confusion"].patches:
        column, row = (round(place + 0.5) for place in square.get_xy())
        shades[row, column] = square.get_alpha()
    assert shades == pytest.approx(0.75 * counts / counts.sum(axis=1, keepdims=True))
    for axis, name in ((drawn["confusion"].xaxis, "Predicted class"), (drawn["confusion"].yaxis, "True class")):
        assert axis.get_label_text() == name
        assert [label.get_text() for label in axis.get_ticklabels()] == ["forest", "kitchen", "sea"]
