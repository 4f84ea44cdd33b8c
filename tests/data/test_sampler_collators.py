"""Which rows a batch holds, how documents are laid end to end, and what masking does to tokens."""

import numpy as np
import pytest
import torch
from scipy import stats
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import TokenMasker, pack
from roformer.data.sampler import batch_rows

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
VOCABULARY = 1000


@pytest.fixture(scope="module")
def tokenizer():
    """Special tokens lie at both ends of the vocabulary: the mask is the last one, as in a tokenizer grown later."""
    names = [*SPECIAL.values(), *(f"w{number}" for number in range(VOCABULARY - 5)), "[MASK]"]
    inner = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", **SPECIAL)


@pytest.fixture
def masker(tokenizer):
    return TokenMasker(tokenizer, mask_probability=0.15)


def test_random_tokens_are_those_of_the_vocabulary():
    """Catches numbers without a token, where some were deleted, and the last ones that are never drawn."""
    numbers = {**{name: number for number, name in enumerate([*SPECIAL.values(), "[MASK]"])}, "a": 40, "b": 60}
    inner = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", **SPECIAL)
    assert TokenMasker(tokenizer, mask_probability=0.15).ordinary.tolist() == [40, 60]


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 4), (12, 4), (3, 8), (1, 2)])
def test_every_epoch_visits_each_row_once(rows, batch_size):
    """Catches rows that are dropped at the end of an epoch, or drawn with replacement."""
    steps = 3 * rows  # whole epochs, however the batches cut them
    visited = np.concatenate([batch_rows(7, step, batch_size=batch_size, rows=rows) for step in range(steps)])
    for epoch in visited.reshape(-1, rows):
        assert sorted(epoch) == list(range(rows))


def test_epochs_and_seeds_have_orders_of_their_own():
    """Catches one permutation for all epochs, which repeats the same batches, and one for all seeds."""
    orders = [batch_rows(seed, epoch, batch_size=50, rows=50).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_batch_needs_no_history():
    """Catches a sampler with a state: a resumed run asks for a late batch first."""
    late = batch_rows(3, 1000, batch_size=8, rows=37)
    for step in (0, 5, 999):
        batch_rows(3, step, batch_size=8, rows=37)
    np.testing.assert_array_equal(batch_rows(3, 1000, batch_size=8, rows=37), late)


def test_packed_documents_lie_end_to_end():
    """Catches bounds that are off by one, and padding between documents."""
    packed = pack([np.array([5, 6, 7], dtype=np.uint16), np.array([8]), np.array([9, 10])])
    assert packed["input_ids"].tolist() == [[5, 6, 7, 8, 9, 10]]
    assert packed["cu_seqlens"].tolist() == [0, 3, 4, 6]
    assert packed["input_ids"].dtype == packed["cu_seqlens"].dtype == torch.int64


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0), (1, 1), (3, 1), (10, 2), (30, 4), (100, 15), (126, 19), (510, 76)]
)
def test_exactly_so_many_tokens_are_chosen(masker, tokens, expected):
    """Catches a choice by coin flips, whose number no other process could know, and rows without any prediction."""
    assert masker.num_targets(tokens) == expected
    for seed in range(20):
        chosen = masker.choose(tokens, np.random.default_rng(seed)) if tokens else []
        assert len(set(chosen)) == expected
        assert all(0 <= index < tokens for index in chosen)


def test_every_place_is_chosen_alike(masker):
    """Catches a first or last token that is never predicted."""
    counts = np.zeros(40)
    for seed in range(2000):
        counts[masker.choose(40, np.random.default_rng(seed))] += 1
    assert stats.chisquare(counts).pvalue > 1e-4


def test_chosen_tokens_become_mask_random_or_stay(masker, tokenizer):
    """Catches swapped or wrong shares of Devlin et al.'s 80/10/10, within what chance allows of 40,000 draws."""
    original = np.full(40_000, 17)
    visible = masker.corrupt(original, np.random.default_rng(0))
    masked, kept = (visible == tokenizer.mask_token_id).sum(), (visible == 17).sum()
    for count, share in ((masked, 0.8), (kept, 0.1 + 0.1 / (VOCABULARY - 5)), (40_000 - masked - kept, 0.1)):
        assert stats.binomtest(int(count), 40_000, share).pvalue > 1e-4


def test_random_tokens_are_ordinary_and_all_of_them(masker, tokenizer):
    """Catches special tokens among the random ones, and a range that leaves out an end of the vocabulary."""
    visible = masker.corrupt(np.full(200_000, 17), np.random.default_rng(0))
    drawn = set(visible[visible != tokenizer.mask_token_id].tolist())
    assert drawn == set(range(VOCABULARY)) - set(tokenizer.all_special_ids)
