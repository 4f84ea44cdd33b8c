"""The GPU day of benchmarks.gpu at toy size, on a CPU."""

import json
import sys

import pytest

from benchmarks import gpu, gpu_items, report
from benchmarks.contestants import BERT, LINEAR, MODERNBERT, OURS, STOCK, WITHOUT_POSITIONS
from benchmarks.gpu_items import FULL, ITEMS, TOY, Finding, Item
from roformer.attention import ATTENTION_BACKENDS
from roformer.position import POSITION_ENCODINGS
from tests.accelerator import combinations


@pytest.mark.slow
def test_a_toy_day(monkeypatch, tmp_path, capsys):
    """Catches an item that only works on a GPU, a peer or a length that is omitted, and tables that cannot be made."""
    file = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--toy", "--output", str(file)])
    gpu.main()
    found = json.loads(file.read_text())
    assert {name: item["outcome"] for name, item in found["items"].items()} == dict.fromkeys(ITEMS, "done")
    assert len(found["parity"]) == 2 * TOY.parity
    assert not any(found["parity"].values())
    cases = {case["name"]: case for case in found["cases"] if "small" not in case["name"]}
    assert set(cases) == {
        f"{work}, {length} tokens each, base size" for work in ("training", "inference") for length in TOY.lengths
    }
    measured = [{each["contestant"] for each in case["results"]} for case in found["cases"]]
    assert measured.count({OURS, STOCK, MODERNBERT, BERT}) == 2 * 2 * len(TOY.lengths)
    assert measured.count({OURS, WITHOUT_POSITIONS}) == 1
    assert measured.count({OURS, *LINEAR}) == len(TOY.lengths)
    assert not any(case["skipped"] for case in found["cases"])
    shown = report.block(report.read(file))
    assert shown in capsys.readouterr().out
    assert "| matmul | done |" in shown
    assert "of these 0 differ" in shown
    assert "| `aten::addmm` |" in shown


def test_all_encodings_and_backends_are_compared():
    """Catches a new encoding or backend that a GPU never computes."""
    assert FULL.parity is None
    assert {position for position, *_ in combinations()} >= set(POSITION_ENCODINGS)
    assert {attention for _, attention, _ in combinations()} >= set(ATTENTION_BACKENDS)
    assert next(combinations())[:2] == ("rope", "auto")


def test_an_item_that_fails_is_a_line(monkeypatch, tmp_path):
    """Catches a failure that ends the day, one that loses what was found before, and a day that outlasts its time."""
    clock = [0.0]

    def works(seconds, fails=False):
        def work(plan, report, end):
            ends.append(end - clock[0])
            yield Finding("parity", {len(ends): None}, "found")
            clock[0] += seconds
            if fails:
                raise RuntimeError("no kernel\nand more lines")

        return work

    ends = []
    items = {"first": Item(1, works(10.0, fails=True)), "second": Item(2, works(84.0)), "third": Item(1, works(1.0))}
    monkeypatch.setattr(gpu, "ITEMS", items)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
    found = {"items": {}, "parity": {}, "cases": []}
    lines = list(gpu.run(FULL, 100.0, found))
    assert found["items"] == {
        "first": {"outcome": "RuntimeError: no kernel", "seconds": 10.0},
        "second": {"outcome": "done", "seconds": 84.0},
        "third": {"outcome": "done", "seconds": 1.0},
    }
    assert ends == [25.0, 60.0, 6.0]
    assert set(found["parity"]) == {1, 2, 3}
    assert lines[:2] == ["first: found", "first: RuntimeError: no kernel"]
    clock[0] = 96.0
    late = {"items": {}, "parity": {}, "cases": []}
    list(gpu.run(FULL, 100.0, late))
    assert {item["outcome"] for item in late["items"].values()} == {"no time left"}


def test_without_an_accelerator(monkeypatch):
    """Catches hours on a CPU that somebody meant for a GPU."""
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="there is no accelerator here"):
        gpu.main()


def test_what_is_not_computed_there_is_named(monkeypatch):
    """Catches a backend whose kernel a device lacks, and with it all other combinations."""

    def compare(position, attention, model_class, device):
        raise RuntimeError(f"no kernel for {attention}")

    monkeypatch.setattr(gpu_items, "compare", compare)
    found = list(gpu_items.parity(TOY, {}, gpu.time.monotonic() + 60))
    assert [name for each in found for name in each.value] == [
        f"{position}, {attention}, {model.__name__}, not computed"
        for position, attention, model in list(combinations())[: TOY.parity]
    ]
    assert found[0].value.popitem()[1] == "RuntimeError: no kernel for auto"
