"""Masked language modeling: what is predicted in training, and what every model is judged on."""

import math

import numpy as np
import pytest
import torch

from roformer.data.collators import pack
from roformer.errors import UserError
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks.language_modeling import evenly_spaced, score_batches


@pytest.fixture
def mlm(make_task):
    return make_task("mlm")


def test_special_tokens_are_never_predicted(mlm):
    """Catches [CLS] and [SEP] among the predictions, which are free points, and pieces that lack either."""
    for step in range(10):
        inputs = mlm.batch(step, 8, share=0, shares=1).inputs
        tokens, labels, bounds = inputs["input_ids"][0], inputs["labels"][0], inputs["cu_seqlens"]
        assert not torch.isin(labels[labels != IGNORE_INDEX], torch.tensor(mlm.tokenizer.all_special_ids)).any()
        assert (tokens[bounds[:-1]] == mlm.tokenizer.cls_token_id).all()
        assert (tokens[bounds[1:] - 1] == mlm.tokenizer.sep_token_id).all()
        assert (labels[bounds[:-1]] == IGNORE_INDEX).all()
        assert (labels[bounds[1:] - 1] == IGNORE_INDEX).all()


def test_each_row_has_its_share_of_predictions(mlm):
    """Catches masks that bunch in a few rows, and a probability that is not the configured one."""
    for step in range(mlm.rows):
        labels = mlm.batch(step, 1, share=0, shares=1).inputs["labels"][0]
        pieces = len(mlm.batch(step, 1, share=0, shares=1).inputs["cu_seqlens"]) - 1
        ordinary = len(labels) - 2 * pieces
        assert int((labels != IGNORE_INDEX).sum()) == max(1, round(0.15 * ordinary))


def test_a_row_is_masked_anew_in_each_epoch(mlm):
    """Catches static masking: the same tokens predicted each time a row comes by."""
    rows = {}
    for step in range(2 * mlm.rows):
        inputs = mlm.batch(step, 1, share=0, shares=1).inputs
        original = torch.where(inputs["labels"] == IGNORE_INDEX, inputs["input_ids"], inputs["labels"])
        rows.setdefault(tuple(original[0].tolist()), []).append((inputs["labels"] != IGNORE_INDEX)[0].tolist())
    same = [first == second for first, second in rows.values()]
    assert sum(same) < len(same) / 4


def test_seeds_mask_differently(make_task, tmp_path):
    """Catches masks drawn from the step alone: of a corpus with a single row, all seeds would train on the same."""
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("one owl sat by an old oak and two elks ran up a hill\n")
    one, other = (make_task("mlm", f"data.path={tmp_path}", f"seed={seed}") for seed in (1, 2))
    assert one.rows == 1
    batches = [[task.batch(step, 1, share=0, shares=1).inputs["labels"].tolist() for step in range(20)]
               for task in (one, other)]  # fmt: skip
    assert sum(ours == theirs for ours, theirs in zip(*batches, strict=True)) < 10


def test_evaluation_masks_ignore_the_seed(make_task):
    """Catches models that are judged on different predictions, so that seeds and encodings do not compare."""
    one, other = (list(make_task("mlm", f"seed={seed}").evaluation_batches("validation", 64)) for seed in (1, 2))
    assert len(one) > 1
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours.inputs, theirs.inputs, rtol=0, atol=0)


def test_batch_size_of_the_evaluation_changes_no_mask(mlm):
    """Catches masks drawn per batch: ``batch_tokens`` would then change the result."""

    def predicted(batch_tokens):
        labels = [batch.inputs["labels"][0] for batch in mlm.evaluation_batches("validation", batch_tokens)]
        return torch.cat(labels).sort().values.tolist()

    assert predicted(32) == predicted(10_000)


def test_evaluation_looks_at_rows_all_over_the_corpus(make_task):
    """Catches the first rows only: corpora are sorted by where they come from."""
    limited = make_task("mlm", "task.max_eval_rows=3")
    batches = list(limited.evaluation_batches("train", 10_000))
    whole = make_task("mlm", "task.max_eval_rows=100000").evaluation_batches("train", 10_000)
    assert sum(batch.tokens for batch in batches) <= 3 * 32 < sum(batch.tokens for batch in whole)
    assert evenly_spaced(100, 5) == [0, 25, 50, 74, 99]
    assert evenly_spaced(3, 5) == [0, 1, 2]


def test_loss_is_a_mean_over_predictions_not_over_batches(mlm):
    """Catches a mean of batch means, which weighs the predictions of a short last batch more."""

    class Unequal(torch.nn.Module):
        """Loss 1, and right, for each of 3 labels, then loss 5, and wrong, for a single one."""

        def __init__(self):
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(()))

        def forward(self, labels, **_):
            chosen = labels[labels != IGNORE_INDEX]
            loss = {3: 1.0, 1: 5.0}[len(chosen)]
            own = math.log(8 / (math.exp(loss) - 1))  # beside 8 logits of 0 it makes -log softmax that loss
            return type("Output", (), {"logits": torch.eye(9)[chosen] * own})

    def batch(labels):
        return mlm.collate([(np.zeros(len(labels), dtype=int), np.array(labels))])

    model = Unequal().train()
    loss, accuracy, predicted = score_batches(model, iter([batch([IGNORE_INDEX, 1, 2, 3]), batch([4, IGNORE_INDEX])]))
    assert (loss, accuracy, predicted) == (pytest.approx(2.0), 0.75, 4)
    assert model.training


def test_longest_piece_comes_first(mlm):
    """Catches pieces in the order of rows, which costs attention a call for each instead of one for all alike."""
    lengths = mlm.batch(0, 8, share=0, shares=1).inputs["cu_seqlens"].diff().tolist()
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("probability", [0, 1, -0.1, 2])
def test_impossible_mask_probability_is_refused(make_task, probability):
    """Catches a run that predicts nothing or sees nothing."""
    with pytest.raises(UserError, match=r"task\.mask_probability must lie between 0 and 1"):
        make_task("mlm", f"task.mask_probability={probability}")


def test_packing_keeps_each_token_once(mlm):
    """Catches pieces that overlap or are lost when rows are put together again."""
    total = sum(len(mlm.corpus.splits["train"].document(index)) for index in range(len(mlm.corpus.splits["train"])))
    rows = [mlm.batch(step, 1, share=0, shares=1) for step in range(mlm.rows)]
    assert sum(row.tokens - 2 * (len(row.inputs["cu_seqlens"]) - 1) for row in rows) == total
    assert max(row.tokens for row in rows) <= 32
    assert pack([np.arange(3)])["cu_seqlens"].tolist() == [0, 3]
