"""Causal language models in the evaluation: the same lengths, statistics and report as masked ones."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from roformer.errors import UserError
from roformer.evaluation.harness import evaluate
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.sections.length_extrapolation.measure import labeled_windows, sliding_batches, window_batches
from roformer.tasks.factory import build_task
from tests.evaluation.conftest import by_encoding, group
from tests.tiny_runs import evaluation


@pytest.fixture(scope="module")
def causal_runs(tiny_runs):
    """Runs of two encodings, on bytes."""
    return [
        tiny_runs.train(tiny_runs.folder / "causal" / f"{position}-seed1", f"position={position}", task="char_lm")
        for position in ("rope", "none")
    ]


@pytest.fixture(scope="module")
def task(tiny_runs):
    return build_task(tiny_runs.config("unused", task="causal_lm"))


@pytest.mark.slow
def test_report_of_bytes(causal_runs):
    """Catches evaluators that do not know of causal models, and nats where bits belong."""
    report = evaluate(evaluation(causal_runs))
    comparison = json.loads((report.parent / "comparison.json").read_text())
    rope = by_encoding(comparison)["rope"]
    assert group(comparison)["settings"]["task"] == "char_lm"
    assert set(rope["loss_by_length"]) == {"32", "64", "128"}
    assert rope["rope_scaling"]
    assert rope["attention_distance"]
    tables = (report.parent / "tables.md").read_text()
    assert "Bits per byte" in tables
    assert f"{rope['loss']['mean'] / np.log(2):.3f}" in tables
    assert "Per byte." in tables
    assert "plus one [CLS]. Sliding window: " in tables
    assert "of which the second half counts" in tables


@pytest.mark.slow
def test_heads_of_a_decoder_look_back(causal_runs):
    """Catches distances to tokens that a decoder does not see."""
    folder = causal_runs[0].parent / "results" / "attention_distance"
    distances = np.array(json.loads((folder / "none-seed1.json").read_text())["metrics"]["tokens"])
    assert distances.shape == (2, 2)
    # of a query that looks at all before it alike the mean is half its place: a quarter of the length in the mean
    assert np.allclose(distances, 31 / 4, atol=1)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_length_predicts_the_same_tokens(task, factor):
    """Catches a [SEP] that is predicted at some lengths, or a token more."""
    windows = labeled_windows(task, 4)
    (batch,) = window_batches(task, windows, factor, batch_tokens=10**6)
    labels = batch.inputs["labels"][0]
    assert labels[labels != IGNORE_INDEX].tolist() == np.concatenate([tokens for tokens, _ in windows]).tolist()
    assert set(batch.inputs["cu_seqlens"].diff().tolist()) == {30 * factor + 1}


@pytest.mark.parametrize("length", [32, 33, 37])
def test_a_sliding_window_predicts_every_token_once_after_half_a_window(tiny_runs, length):
    """Catches tokens that are lost, counted twice, or predicted with less before them than there could be."""
    task = build_task(tiny_runs.config("unused", f"task.sequence_length={length}", task="causal_lm"))
    ordinary, windows = length - 2, labeled_windows(task, 3)
    (batch,) = sliding_batches(task, windows, batch_tokens=10**6)
    labels, bounds = batch.inputs["labels"][0], batch.inputs["cu_seqlens"].tolist()
    pieces = [labels[start + 1 : stop] for start, stop in pairwise(bounds)]
    per_window = len(pieces) // len(windows)
    for number, (tokens, _) in enumerate(windows):
        own = pieces[number * per_window : (number + 1) * per_window]
        assert torch.cat([piece[piece != IGNORE_INDEX] for piece in own]).tolist() == tokens.tolist()
        for piece in own[1:]:
            assert (piece != IGNORE_INDEX).nonzero().min() >= (ordinary - 1) // 2


@pytest.mark.slow
def test_linear_attention_has_a_report(tiny_runs, tmp_path):
    """Catches probes that only attention with weights can give, asked of all."""
    run = tiny_runs.train(tmp_path / "linear-seed1", "attention=linear", task="char_lm")
    report = evaluate(evaluation([run]))
    comparison = json.loads((report.parent / "comparison.json").read_text())
    assert set(comparison["sections"]) == {"lm_loss", "learning_speed", "length_extrapolation"}
    assert "The paper and this comparison" not in (report.parent / "tables.md").read_text()


@pytest.mark.slow
def test_masked_and_causal_losses_are_kept_apart(causal_runs, runs):
    """Catches a ranking of losses of different tokens."""
    with pytest.raises(UserError, match=r"results of char_lm and mlm .* do not compare"):
        evaluate(evaluation([causal_runs[0], runs[0]], output_dir=str(causal_runs[0].parent / "mixed")))
