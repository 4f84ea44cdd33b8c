"""Batches are a function of seed and step, and their shares add up, for every task."""

from itertools import chain, pairwise

import pytest
import torch

from roformer.ops.cross_entropy import IGNORE_INDEX

BATCH = 8


def whole(task, step, batch_size=BATCH):
    return task.batch(step, batch_size, share=0, shares=1)


def documents(batch):
    """The packed documents of a batch with their labels, in an order that does not depend on the layout."""
    bounds = batch.inputs["cu_seqlens"].tolist()
    tokens, labels = batch.inputs["input_ids"][0].tolist(), batch.inputs["labels"]
    per_token = labels.dim() == 2
    labels = labels[0].tolist() if per_token else labels.tolist()
    return sorted(
        (tokens[start:stop], labels[start:stop] if per_token else labels[number])
        for number, (start, stop) in enumerate(pairwise(bounds))
    )


def predictions(batch):
    return int((batch.inputs["labels"] != IGNORE_INDEX).sum())


def test_a_batch_depends_on_seed_and_step_alone(make_task, task_name):
    """Catches a generator that carries over from batch to batch: a resumed run would see other masks or rows."""
    warm, fresh = make_task(task_name), make_task(task_name)
    for step in (0, 1, 2):
        whole(warm, step)
    torch.manual_seed(99)
    for step in (40, 3):
        assert documents(whole(warm, step)) == documents(whole(fresh, step))
        torch.testing.assert_close(whole(warm, step).inputs, whole(fresh, step).inputs, rtol=0, atol=0)


def test_seeds_and_steps_differ(make_task, task_name):
    """Catches a seed or step that is not used, so that "three seeds" are one."""
    seen = [documents(whole(make_task(task_name, f"seed={seed}"), step)) for seed in (1, 2) for step in (0, 1)]
    assert all(seen.count(batch) == 1 for batch in seen)


@pytest.mark.parametrize("shares", [2, 4])
def test_shares_add_up_to_the_batch(task, shares):
    """Catches masks that depend on the share, and rows that two processes share or none has."""
    for step in (0, 7):
        parts = [task.batch(step, BATCH, share=share, shares=shares) for share in range(shares)]
        assert sorted(chain.from_iterable(map(documents, parts))) == documents(whole(task, step))
        assert sum(part.tokens for part in parts) == whole(task, step).tokens


@pytest.mark.parametrize("shares", [1, 2, 4])
def test_num_items_is_the_number_of_labels(task, shares):
    """Catches a loss divided by another count than its labels: too small or large by a factor that varies."""
    for step in range(6):
        parts = [task.batch(step, BATCH, share=share, shares=shares) for share in range(shares)]
        assert task.num_items(step, BATCH) == sum(map(predictions, parts))


def test_tokens_are_counted_as_laid_out(task):
    """Catches a speed that counts padding or forgets the special tokens."""
    batch = whole(task, 0)
    assert batch.tokens == batch.inputs["input_ids"].numel() == int(batch.inputs["cu_seqlens"][-1])


def test_an_epoch_shows_the_whole_training_split(task):
    """Catches rows that the batches never reach, and ``rows`` that is not the length of an epoch."""
    batches = [whole(task, step, batch_size=1) for step in range(task.rows)]
    tokenizer, split = task.tokenizer, task.corpus.splits["train"]
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    original = 0
    for batch in batches:
        labels, tokens = batch.inputs["labels"], batch.inputs["input_ids"]
        if task.family == "language_modeling":
            tokens = torch.where(labels == IGNORE_INDEX, tokens, labels)
        original += sum(int(token) for token in tokens[0] if int(token) not in special)
    limit = task.max_length - 2 if task.family == "classification" else None  # others cut documents in parts
    assert original == sum(int(split.document(index)[:limit].sum()) for index in range(len(split)))
