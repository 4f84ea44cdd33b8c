"""Loss beyond the training length: the same tokens to predict, more of their context."""

import numpy as np
import pytest
import torch

from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.sections.length_extrapolation.measure import LengthExtrapolation, labeled_windows, window_batches
from roformer.tasks.factory import build_task
from tests.tiny_runs import evaluation

PIECE = 30  # ordinary tokens of a row of 32


@pytest.fixture(scope="module")
def task(tiny_runs):
    return build_task(tiny_runs.config("unused"))


@pytest.fixture(scope="module")
def windows(task):
    return labeled_windows(task, 4)


def shown(task, windows, factor):
    """What the model sees of all windows, without [CLS] and [SEP], and the labels; in order of the documents."""
    batches = list(window_batches(task, windows, factor, batch_tokens=10**6))
    assert len(batches) == 1
    inputs = batches[0].inputs
    inside = torch.ones(inputs["input_ids"].shape[1], dtype=torch.bool)
    inside[inputs["cu_seqlens"][:-1]] = inside[inputs["cu_seqlens"][1:] - 1] = False
    return inputs["input_ids"][0][inside], inputs["labels"][0][inside], inputs["cu_seqlens"].diff()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_length_predicts_the_same_tokens_from_the_same_input(task, windows, factor):
    """Catches masks drawn anew at each length: the losses would be about other tokens."""
    assert len(windows) > 1
    tokens, labels, lengths = shown(task, windows, factor)
    assert tokens.tolist() == np.concatenate([visible for visible, _ in windows]).tolist()
    assert labels.tolist() == np.concatenate([targets for _, targets in windows]).tolist()
    assert set(lengths.tolist()) == {PIECE * factor + 2}


def test_windows_are_heads_of_different_test_documents(task, windows):
    """Catches windows over two documents, of another split, or several of one document."""
    split = task.corpus.splits["test"]
    heads = [split.document(index)[: 4 * PIECE].tolist() for index in range(len(split))]
    originals = [np.where(labels == IGNORE_INDEX, visible, labels).tolist() for visible, labels in windows]
    assert len({tuple(original) for original in originals}) == len(originals)
    assert all(original in heads for original in originals)
    assert len(originals) == sum(len(head) == 4 * PIECE for head in heads)


def test_windows_do_not_depend_on_the_seed(tiny_runs, windows):
    """Catches models that are compared on different windows."""
    other = build_task(tiny_runs.config("unused", "seed=2"))
    for (visible, labels), ours in zip(labeled_windows(other, 4), windows, strict=True):
        np.testing.assert_array_equal(visible, ours[0])
        np.testing.assert_array_equal(labels, ours[1])


def measured(run, **settings):
    """What the evaluator says of a run."""
    (found,), _ = find_runs([str(run)])
    return LengthExtrapolation(evaluation([], **settings)).evaluate(load_run(found))


def test_lengths_rise_and_predict_alike(runs, windows):
    """Catches a length named after its tokens without the special ones, and results in another order."""
    result = measured(runs[0], length_factors=[4, 1, 2])
    assert list(result.by_length) == [32, 64, 128]
    assert result.windows == len(windows)
    predicted = {length.predicted_tokens for length in result.by_length.values()}
    assert predicted == {sum(int((labels != IGNORE_INDEX).sum()) for _, labels in windows)}
    assert len({length.loss for length in result.by_length.values()}) == 3  # each with a context of its own


def test_batches_change_no_loss(runs):
    """Catches windows that are lost at the end of a batch, or weighed by batch."""
    small, large = (measured(runs[0], batch_tokens=tokens).by_length for tokens in (1, 10**6))
    for length in small:
        assert small[length].loss == pytest.approx(large[length].loss, rel=1e-5)


def test_documents_that_are_too_short_give_nothing(runs):
    """Catches a loss over no token, or one over padding."""
    result = measured(runs[0], length_factors=[1, 1000])
    assert (result.windows, result.by_length, result.by_position, result.sliding_window_loss) == (0, {}, (), None)


def test_a_table_ends_where_it_ends(tiny_runs, tmp_path):
    """Catches an evaluation that dies, or invents a loss, beyond the rows of a learned table."""
    run = tiny_runs.train(tmp_path / "run", "position=learned", "model.max_position_embeddings=64")
    result = measured(run)
    assert (list(result.by_length), result.has_position_table) == ([32, 64], True)
