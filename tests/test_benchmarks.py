"""The benchmarks run, count what they claim to count, and the page shows what they measured."""

import json
import sys

import numpy as np
import pytest

from benchmarks import report, run
from benchmarks.contestants import OURS, STOCK, Sizes, packed, padded
from benchmarks.flops import forward_flops, training_flops
from tests.test_counted_work import HEADS, LAYERS, LENGTHS, VOCABULARY, WIDTH, step

SIZES = Sizes(WIDTH, LAYERS, HEADS, VOCABULARY, max(LENGTHS), 0.0)


def test_flops_are_the_products_of_a_step():
    """Catches a formula that flatters: it must not exceed what a step really multiplies.

    The step pads queries of the top layer to the most of a run, so that it does a little more than is needed.
    """
    counted = step()
    done = 2 * sum(counted.multiplied.values())
    needed = training_flops(SIZES, LENGTHS, counted.predicted)
    assert done * 0.97 < needed <= done


def test_flops_by_hand():
    """Catches attention that is counted over padding or across documents, and a forgotten head."""
    small = Sizes(hidden_size=2, layers=1, heads=1, vocabulary=3, length=5, dropout=0.0)
    tokens, pairs = 8, 5 * 5 + 3 * 3
    assert forward_flops(small, [5, 3], None) == 2 * tokens * 12 * 4 + 4 * 2 * pairs
    half = 2 * tokens * 2 * 4 + (2 * tokens * 10 * 4 + 4 * 2 * pairs) // 2
    assert forward_flops(small, [5, 3], 4) == half + 2 * 4 * (4 + 2 * 3)


def test_both_layouts_hold_the_same_tokens():
    """Catches a peer that is given other, or fewer, tokens."""
    documents = [(np.arange(1, n + 1), np.full(n, n)) for n in (3, 5, 2)]
    rows, line = padded(documents), packed(documents)
    real = rows["attention_mask"].bool()
    assert sorted(rows["input_ids"][real].tolist()) == sorted(line["input_ids"][0].tolist())
    assert sorted(rows["labels"][real].tolist()) == sorted(line["labels"][0].tolist())
    assert rows["labels"][~real].unique().tolist() == [-100]
    assert line["cu_seqlens"].tolist() == [0, 5, 8, 10]
    assert "attention_mask" not in padded(documents[:1])  # no padding: no mask that would slow a peer


@pytest.mark.parametrize("work", ["training", "inference"])
def test_a_small_run(work, monkeypatch, tmp_path, capsys):
    """Catches a benchmark that only works at the sizes it was written at, and a peer that silently drops out."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"Document {n} says: " + "one word and another " * (n % 7 + 1) for n in range(80)))
    file = tmp_path / "out.json"
    options = ["--hidden-size", "16", "--heads", "2", "--layers", "2", "--lengths", "24", "--rounds", "2"]
    data = ["data=text", f"data.path={text}", f"paths.cache_dir={tmp_path}/cache", "tokenizer.vocab_size=300"]
    data.append("tokenizer.alphabet_size=40")
    more = ["--max-length", "32", "--precision", "fp32", "--output", str(file)]
    monkeypatch.setattr(run, "TOKENS", 96)
    monkeypatch.setattr(sys, "argv", ["run", "--work", work, *options, "--data", *data, *more])
    run.main()
    result = json.loads(file.read_text())
    assert [case["length"] for case in result["cases"]] == [24, None]
    for case in result["cases"]:
        names = {each["contestant"] for each in case["results"]}
        assert {OURS, STOCK} <= names
        for each in case["results"]:
            assert len(each["seconds"]) == 2
            assert min(each["seconds"]) > 0
            assert each["parameters"] > 0
        assert case["tokens"] > 0
    assert "ours is" in capsys.readouterr().out


def test_the_page_shows_what_was_measured():
    """Catches a figure that somebody typed into docs/performance.md, and a table that is out of date."""
    text = report.PAGE.read_text()
    assert report.page(text) == text
    assert "<!-- table: " in text
