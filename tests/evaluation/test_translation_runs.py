"""Translations in the evaluation: BLEU, paired tests, the table and the page."""

import json

import pytest

from roformer.errors import UserError
from roformer.evaluation.harness import evaluate
from tests.evaluation.conftest import as_json, comparison_of, group, summary
from tests.tiny_runs import evaluation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tiny_runs):
    """Of two encodings with two seeds each."""
    folder = tiny_runs.folder / "translated"
    runs = [
        tiny_runs.train(folder / f"{name}-seed{seed}", f"position={name}", f"seed={seed}", task="translation")
        for name in ("rope", "none")
        for seed in (1, 2)
    ]
    return evaluate(evaluation(runs))


@pytest.fixture
def results(report):
    return [
        json.loads(file.read_text()) for file in sorted((report.parents[1] / "results" / "translation").glob("*.json"))
    ]


def translations(results):
    return summary(as_json(comparison_of(results, evaluation([]))), "translation")


def test_report(report, results):
    """Catches a part that the tables, the page or the headline do not know."""
    comparison = json.loads((report.parent / "comparison.json").read_text())
    part = summary(comparison, "translation")
    assert set(part["encodings"]) == {"rope", "none"}
    assert group(comparison, "translation")["encodings"]["none"]["seeds"] == [1, 2]
    assert len(part["encodings"]["none"]["bootstrap"]) == 2
    assert part["encodings"]["rope"]["difference"] is None
    assert part["test_documents"] == len(results[0]["metrics"]["references"])
    tables = (report.parent / "tables.md").read_text()
    assert "No clear difference in BLEU to RoPE (no positions 0.00)." in tables
    assert "With two seeds an interval reaches 12.7 standard errors" in tables
    assert part["signature"] in tables.replace("\\", "")
    assert "<h2>Translation</h2>" in report.read_text()
    assert list(comparison["sections"]) == ["translation"]


def test_bootstrap_tells_alike_from_unlike(results):
    """Catches equal translations that come out as significant, and a test that finds nothing."""
    for result in results:
        result["metrics"]["translations"] = list(result["metrics"]["references"])
    assert translations(results)["encodings"]["none"]["bootstrap"] == [1.0, 1.0]
    for result in results:
        if result["run"]["position"]["name"] == "none":
            texts = result["metrics"]["references"]
            result["metrics"]["translations"] = [" ".join(reversed(text.split())) for text in texts]
    assert max(translations(results)["encodings"]["none"]["bootstrap"]) < 0.01


def test_other_test_sets_are_not_compared(results):
    """Catches translations that are scored against the references of another corpus."""
    results[0]["metrics"]["references"] = results[0]["metrics"]["references"][1:]
    with pytest.raises(UserError, match="different test sets"):
        translations(results)


def test_paired_tests_have_the_tokens_of_the_score(results):
    """Catches a p-value of Chinese sentences as single words, next to a BLEU of their characters."""
    for result in results:
        references = [f"红桥晚红天灯头明山雨关{number}号" for number in range(len(result["metrics"]["references"]))]
        better = result["run"]["position"]["name"] == "none"
        result["metrics"] |= {
            "references": references,
            "signature": result["metrics"]["signature"].replace("tok:13a", "tok:zh"),
            "translations": [text if better else text[::-1] for text in references],
        }
    assert max(translations(results)["encodings"]["none"]["bootstrap"]) < 0.01
