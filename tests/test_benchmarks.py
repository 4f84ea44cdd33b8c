"""The benchmarks run, count what they claim to count, and the page shows what they measured."""

import json
import math
import sys
from itertools import product

import numpy as np
import pytest
import torch

from benchmarks import (
    attention_lengths,
    figures,
    quantization,
    random_features,
    report,
    rotation,
    run,
    tables,
)
from benchmarks.contestants import (
    CONTESTANTS,
    LIBRARY,
    OURS,
    PEERS,
    STOCK,
    WITHOUT_POSITIONS,
    Contestant,
    Sizes,
    packed,
    padded,
)
from benchmarks.flops import forward_flops, training_flops
from benchmarks.work import Case, rebatch
from benchmarks.worker import Worker
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


def test_flops_within_windows_by_hand():
    """Catches layers that are counted as if all tokens attended to all, and a top layer that is another one's."""
    small = Sizes(hidden_size=2, layers=2, heads=1, vocabulary=3, length=5, dropout=0.0)
    tokens, weights = 8, 2 * 2 * 8 * 12 * 4
    assert forward_flops(small, [5, 3], None, windows=[None, 1]) == weights + 4 * 2 * (5 * 5 + 3 * 3 + tokens * 3)
    whole, half = (forward_flops(small, [5, 3], n, windows=[None, 1]) for n in (8, 4))
    head = 2 * 4 * (4 + 2 * 3)
    assert whole - half == (2 * tokens * 10 * 4 + 4 * 2 * tokens * 3) // 2 + head


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


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Runs the benchmark at tiny sizes with more arguments; returns its report."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"Document {n} says: " + "one word and another " * (n % 7 + 1) for n in range(80)))
    data = ["data=text", f"data.path={text}", f"paths.cache_dir={tmp_path}/cache", "tokenizer.vocab_size=300"]
    sizes = ["--hidden-size", "16", "--heads", "2", "--layers", "2", "--lengths", "24", "--tokens", "96"]
    more = ["--max-length", "32", "--precision", "fp32", "--rounds", "2", "--settings", "kept"]

    def measured(*arguments):
        output = ["--output", str(tmp_path / "out.json")]
        given = ["run", *sizes, "--data", *data, "tokenizer.alphabet_size=40", *more, *output, *arguments]
        monkeypatch.setattr(sys, "argv", given)
        run.main()
        return json.loads((tmp_path / "out.json").read_text())

    return measured


@pytest.mark.slow
def test_our_model_as_a_library_object(small):
    """Catches a plain model that no command can set next to the one that train.py runs."""
    (_, case) = small("--work", "training", "--peers", LIBRARY)["cases"]
    assert {each["contestant"] for each in case["results"]} == {OURS, LIBRARY}


@pytest.mark.slow
@pytest.mark.parametrize("work", ["training", "inference"])
def test_a_small_run(small, work, capsys):
    """Catches a benchmark that only works at the sizes it was written at, and a peer that silently drops out."""
    result = small("--work", work, "--profile", "--peers", *PEERS, "--settings", "plain", "kept")
    assert [case["length"] for case in result["cases"]] == [24, None]
    for case in result["cases"]:
        measured = {(each["contestant"], each["variant"]) for each in case["results"]}
        kept = "memory kept" if case["length"] else "memory kept, sorted by length"
        without = {(WITHOUT_POSITIONS, "memory kept")} if work == "training" and case["length"] else set()
        assert measured == {(OURS, "memory kept"), *without, *product(PEERS, ("as it comes", kept))}
        assert case["skipped"] == []
        assert case["rounds"] == 2
        for each in case["results"]:
            assert len(each["seconds"]) == 2
            assert min(each["seconds"]) > 0
            assert each["parameters"] > 0
            assert ("profile" in each) == (each["contestant"] == OURS)
        assert case["tokens"] > 0
    printed = capsys.readouterr().out
    assert "ours is" in printed
    assert "fewer than 3 rounds" in printed
    assert ("RoPE over none, training, 24 tokens each" in printed) == (work == "training")
    assert ("peak memory, training, 24 tokens each" in printed) == (work == "training")


@pytest.mark.slow
def test_all_tables_have_the_same_documents(small):
    """Catches a sample that depends on what else is measured."""
    together = small("--peers", "bert")["cases"]
    (alone,) = (case for case in small("--work", "inference", "--peers", "bert")["cases"] if not case["length"])
    assert {case["tokens"] for case in together if not case["length"]} == {alone["tokens"]}


@pytest.mark.slow
def test_peers_in_their_best_setting(small, monkeypatch):
    """Catches a comparison that holds something back from peers, and one that drops whoever cannot be compiled."""

    def compile(model, dynamic):  # it needs a compiler, and minutes
        if isinstance(model, CONTESTANTS[STOCK].build(SIZES, "sdpa").__class__):
            return model
        raise RuntimeError("reached")

    monkeypatch.setattr(torch, "compile", compile)
    for case, kept in zip(
        small("--work", "training", "--settings", "compiled", "--peers", *PEERS)["cases"],
        ["memory kept", "memory kept, sorted by length"],
        strict=True,
    ):
        compiled = kept.replace("kept", "kept, compiled")
        found = {(each["contestant"], each["variant"]) for each in case["results"]}
        assert found - {(WITHOUT_POSITIONS, "memory kept")} == {
            (OURS, "memory kept"), (STOCK, compiled), *((name, kept) for name in PEERS if name != STOCK),
        }  # fmt: skip
        assert {(each["contestant"], each["variant"], each["why"]) for each in case["skipped"]} == {
            (name, compiled, "RuntimeError: reached") for name in PEERS if name != STOCK
        }


@pytest.mark.slow
def test_chosen_peers_and_encodings(small):
    """Catches a filter that measures nobody, or drops ours."""
    for case in small("--work", "inference", "--peers", "bert")["cases"]:
        assert {each["contestant"] for each in case["results"]} == {OURS, "BERT, transformers (SDPA)"}
    for case in small("--work", "training", "--positions", "none", "rope", "t5")["cases"]:
        sizes = {each["contestant"]: each["parameters"] for each in case["results"]}
        assert list(sizes) == [OURS, "ours, none", "ours, t5"]
        assert sizes["ours, none"] == sizes[OURS] < sizes["ours, t5"]
    with pytest.raises(SystemExit, match="--peers gpt: nobody's name begins so"):
        small("--peers", "gpt")


@pytest.mark.slow
def test_arguments_that_count_nothing(small, capsys):
    """Catches a division by zero in place of a line."""
    with pytest.raises(SystemExit):
        small("--rounds", "0")
    assert "invalid positive value: '0'" in capsys.readouterr().err
    for arguments, told in (
        (["--lengths", "--data"], "both empty: there is nothing to measure"),
        (["--max-length", "2"], "--max-length must be above 2, got 2"),
        (["--positions", "none", "--peers", "bert"], "leave out --peers"),
    ):
        with pytest.raises(SystemExit):
            small(*arguments)
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_who_dies_between_rounds_is_named(small, monkeypatch):
    """Catches a worker that the system kills while it waits, and with it all that was measured."""
    turn = Worker.turn

    def killed(worker, *arguments):
        if worker.name == STOCK:
            worker.stop()
        return turn(worker, *arguments)

    monkeypatch.setattr(Worker, "turn", killed)
    for case in small("--work", "inference")["cases"]:
        assert [each["contestant"] for each in case["skipped"]] == [STOCK]
        assert OURS in {each["contestant"] for each in case["results"]}


def test_sorting_by_length_keeps_the_documents():
    """Catches a peer's best setting that is a label only, or that loses documents."""
    documents = [(np.full(n, n), np.full(n, n)) for n in (3, 9, 5, 2, 7, 4)]
    batches = [documents[:3], documents[3:]]
    for work in ("training", "inference"):
        case = Case(work, batches, SIZES, None, "fp32", "sdpa")
        plain, ordered = (rebatch(case, ours=False, by_length=by_length) for by_length in (False, True))
        assert plain is batches
        lengths = [len(tokens) for batch in ordered for tokens, _ in batch]
        assert lengths == sorted((3, 9, 5, 2, 7, 4), reverse=True)
        assert ordered == rebatch(case, ours=True, by_length=work == "training")


@pytest.mark.slow
def test_who_cannot_run_is_named(small, monkeypatch, capsys):
    """Catches a crash of one peer that ends the run, and ours dropping out with exit status 0."""

    def broken(sizes, backend):
        raise RuntimeError("no room")

    monkeypatch.setitem(CONTESTANTS, STOCK, Contestant(broken, padded))
    for case in small("--work", "inference")["cases"]:
        assert {(each["contestant"], each["why"]) for each in case["skipped"]} == {(STOCK, "RuntimeError: no room")}
        assert OURS in {each["contestant"] for each in case["results"]}
    assert "no room" in capsys.readouterr().out
    monkeypatch.setitem(CONTESTANTS, OURS, Contestant(broken, packed))
    with pytest.raises(SystemExit, match="ours could not run"):
        small("--work", "inference")


def test_ratios_are_medians_of_rounds():
    """Catches a ratio of medians, rounds of ours next to somebody else, and the slowest setting of a peer."""
    peer = {
        "contestant": STOCK,
        "variant": "as it comes",
        "seconds": [4.0, 9.0, 8.0],
        "seconds_of_ours": [2.0, 3.0, 1.0],
    }
    better = {**peer, "variant": "memory kept", "seconds": [4.0, 6.0, 2.0]}
    ours = {"contestant": OURS, "variant": "memory kept", "seconds": [7.0, 2.0, 3.0, 1.0]}
    case = {"results": [ours, peer, better], "skipped": [], "tokens": 8, "flops": 4}
    assert tables.times_as_fast(case, peer) == 3
    assert tables.ratio(case, lambda result: result["contestant"] == STOCK) == 2
    assert tables.times_as_fast(case, ours) == 1
    assert (
        tables.ratio({**case, "results": [ours, {**peer, "seconds_of_ours": []}]}, lambda result: result is not ours)
        is None
    )
    assert [line.split(":")[-1] for line in tables.remarks(case)] == [
        " its slowest round took 7.0 times as long as its fastest",
        " its slowest round took 2.2 times as long as its fastest",
        " its slowest round took 3.0 times as long as its fastest",
    ]


@pytest.mark.slow
def test_a_file_of_ones_own_is_tabled(small, tmp_path, monkeypatch, capsys):
    """Catches a --help that rewrites the page, and a table that only the page can show."""
    before = report.PAGE.read_text()
    small("--work", "inference", "--peers", "bert")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "out.json")])
    report.main()
    printed = capsys.readouterr().out
    assert "| roformer (ours) | memory kept, " in printed
    assert "; rounds: 2; " in printed
    monkeypatch.setattr(sys, "argv", ["report", "--help"])
    with pytest.raises(SystemExit):
        report.main()
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "text.txt")])
    with pytest.raises(SystemExit, match="is no file that a benchmark wrote"):
        report.main()
    assert report.PAGE.read_text() == before


def test_the_page_shows_what_was_measured():
    """Catches a figure that somebody typed into docs/performance.md, and a table that is out of date."""
    text = report.PAGE.read_text()
    assert report.page(text) == text
    assert "<!-- table: " in text


@pytest.mark.slow
def test_attention_over_lengths(monkeypatch, tmp_path, capsys):
    """Catches a backend that is omitted, batches of other sizes at other lengths, and a table of another unit."""
    batches = []
    step = attention_lengths.step
    monkeypatch.setattr(attention_lengths, "step", lambda *given: batches.append(given[:3]) or step(*given))
    file = tmp_path / "attention.json"
    arguments = ["--lengths", "16", "64", "--rounds", "1", "--heads", "1", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["attention_lengths", *arguments])
    attention_lengths.main()
    assert set(batches) == {(name, *sizes) for name in attention_lengths.BACKENDS for sizes in ((4, 16), (1, 64))}
    times = json.loads(file.read_text())["nanoseconds"]["64"]
    assert f"{times['linear']:,.0f}" in capsys.readouterr().out
    assert f"{times['linear']:,.0f}" in report.block(report.read(file))
    figures.attention_figure(report.read(file), tmp_path / "attention.svg")
    assert (tmp_path / "attention.svg").read_text().startswith("<?xml")


def test_rotations_over_transformers(monkeypatch, tmp_path, capsys):
    """Catches a layout that is omitted or does not rotate as transformers does, and a table of another unit."""
    (query, key), half = torch.randn(2, 2, 3, 5, 8), rotation.rotation("half", [2, 3, 5, 8], torch.float32)
    stock = rotation.rotation(rotation.STOCK, [2, 3, 5, 8], torch.float32)
    for given, expected in zip(half(query, key), stock(query, key), strict=True):
        torch.testing.assert_close(given, expected)
    file = tmp_path / "rotation.json"
    arguments = ["--shape", "2", "3", "5", "8", "--rounds", "1", "--eager", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["rotation", *arguments])
    rotation.main()
    seconds = json.loads(file.read_text())["rotation_seconds"]
    assert set(seconds) == {f"{dtype}, {work}" for dtype in ("float32", "bfloat16") for work in rotation._WORK}
    ratio = seconds["bfloat16, forward"]["half"] / seconds["bfloat16, forward"][rotation.STOCK]
    assert f"{ratio:.2f}" in capsys.readouterr().out
    assert f"{ratio:.2f}" in report.block(report.read(file))


def test_quantization_by_hand():
    """Catches a loss of visible tokens, a change or ratio that is upside down, and times of another unit."""
    logits = torch.zeros(2, 2, 8)
    logits[0, 1, 5] = 100.0  # nothing is to be predicted there
    masked = {"labels": torch.tensor([[3, -100], [-100, 1]])}
    assert quantization.score(lambda batch: logits, [masked] * 2) == pytest.approx(math.log(8))
    classes = {"labels": torch.tensor([0, 1, 1])}
    assert quantization.score(lambda batch: torch.tensor([[1.0, 0.0]] * 3), [classes]) == pytest.approx(1 / 3)
    plain = {"score": 2.0, "bytes": 4_000_000, "seconds": [1.0, 2.0, 4.0]}
    small = {"score": 2.5, "bytes": 1_000_000, "seconds": [3.0, 1.0, 2.0]}
    measured = {"tokens": 10_000, "metric": "MLM loss", "quantization": {quantization.PLAIN: plain, "int8": small}}
    assert report.table_of(measured)(measured).splitlines()[2:] == [
        "| PyTorch, float32 | 2.0000 | +0.0000 | 4.00 | 200.0 | 1.00 |",
        "| int8 | 2.5000 | +0.5000 | 1.00 | 200.0 | 0.50 |",
    ]


@pytest.mark.slow
def test_random_features_against_the_mean_of_values(monkeypatch, capsys):
    """Catches a number of features that has no effect, and rows that are omitted."""
    monkeypatch.setattr(sys, "argv", ["random_features", "--features", "64", "1024", "--drawings", "8"])
    random_features.main()
    rows = [line.replace(",", "").split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [row[1].split(":")[0].strip() for row in rows] == ["none", "64", "1024"]
    mean, first, last = (float(row[2]) for row in rows)
    assert last < mean < first
    assert last == pytest.approx(first / 4, rel=0.2)
    mean, *others = (float(row[4]) for row in rows)
    assert mean < min(others)  # as docs/performance.md says of scores of 1
