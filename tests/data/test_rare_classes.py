"""Classes of one or few documents."""

import json

import pytest

from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.errors import UserError

COMMON = [{"text": f"owl {i}", "label": "ab"[i % 2]} for i in range(200)]
RARE = [{"text": f"fern {i}", "label": f"rare{i}"} for i in range(40)]


def corpus_of(folder, rows, name="rows.jsonl", **settings):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"name": "labeled", "path": str(folder), "text_column": "text", "label_column": "label"}
    return Corpus.from_settings({**data, "validation_fraction": 0.2, "test_fraction": 0.2, **settings})


def splits(corpus):
    return {
        document.text: (split, document.label)
        for split, document in split_documents(corpus.source, **corpus.fractions)
    }


def test_rare_classes_are_trained_on_on_demand(tmp_path):
    """Catches a corpus on which no run is possible, and a document of another class that changes its split."""
    usual = splits(corpus_of(tmp_path, COMMON + RARE))
    chosen = splits(corpus_of(tmp_path, COMMON + RARE, rare_classes="train"))
    assert {split for split, label in usual.values() if label.startswith("rare")} == {"train", "validation", "test"}
    assert {split for split, label in chosen.values() if label.startswith("rare")} == {"train"}
    common = {row["text"] for row in COMMON}
    assert {text: chosen[text] for text in common} == {text: usual[text] for text in common}


def test_splits_without_rare_classes_stay(tmp_path):
    """Catches a setting that draws new splits, or draws from the split that a file is."""
    assert splits(corpus_of(tmp_path, COMMON)) == splits(corpus_of(tmp_path, COMMON, rare_classes="train"))
    corpus_of(tmp_path, RARE, "test.jsonl")
    found = splits(corpus_of(tmp_path, COMMON, "train.jsonl", rare_classes="train"))
    assert {split for split, label in found.values() if label.startswith("rare")} == {"test"}
    assert {split for split, label in found.values() if label in "ab"} == {"train", "validation"}


def test_copies_are_found_after_rare_classes(tmp_path):
    """Catches two settings of which only one has an effect."""
    rows = COMMON + [{**row, "label": "c"} for row in COMMON[:1]]
    both = corpus_of(tmp_path, rows, rare_classes="train", drop_repeated=True)
    assert both.source.source.source.fingerprint() == corpus_of(tmp_path, rows).source.fingerprint()
    keys = {both.source.fingerprint(), both.source.source.fingerprint(), both.source.source.source.fingerprint()}
    assert len(keys) == 3
    assert both.source.skipped == {}
    list(both.source.documents())
    assert set(both.source.skipped) <= {"training documents that are evaluated, too"}


def test_the_setting_has_one_value(tmp_path):
    with pytest.raises(UserError, match=r"data\.rare_classes='test' is not possible \(allowed: .*train"):
        corpus_of(tmp_path, COMMON, rare_classes="test")
