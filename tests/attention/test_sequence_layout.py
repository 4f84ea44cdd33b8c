"""Which tokens may see which: the layouts themselves, and what they refuse."""

import pytest
import torch

from roformer.attention import SequenceLayout, document_ids
from roformer.errors import UserError


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        ((3,), [(1, 3)]),
        ((1, 5, 5, 5, 1, 1, 7), [(1, 1), (3, 5), (2, 1), (1, 7)]),
        ((2, 3, 2), [(1, 2), (1, 3), (1, 2)]),
    ],
)
def test_runs_of_equal_lengths(lengths, runs):
    """Catches equal lengths that are not neighbors being joined."""
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    layout = SequenceLayout.packed(bounds, sum(lengths))
    assert layout.lengths == lengths
    assert layout.runs() == runs


def test_document_ids():
    """Catches a document's first token that counts to the one before it."""
    assert document_ids(torch.tensor([0, 1, 4, 6]), 6).tolist() == [0, 1, 1, 1, 2, 2]


def test_nothing_is_masked_without_a_mask():
    """Catches a mask of ones, which costs the fast kernels, where there is none."""
    assert SequenceLayout.padded(None) == SequenceLayout()


@pytest.mark.parametrize("bounds", [[0, 3], [0, 11], [1, 10], [0, 5, 5, 10], [0, 7, 3, 10], [10], []], ids=str)
def test_bounds_that_do_not_fit_are_refused(bounds, tiny_model):
    """Catches tokens that belong to no document, to two, or to one of length zero."""
    with pytest.raises(UserError, match="cu_seqlens must rise from 0 to the number of tokens 10, got"):
        tiny_model()(torch.ones(1, 10, dtype=torch.long), cu_seqlens=torch.tensor(bounds, dtype=torch.long))


def _written(visible, kind):
    """A boolean mask in each form that people give."""
    lowest = torch.finfo(torch.float32).min
    return {
        "boolean": visible,
        "ones": visible.long(),
        "added": torch.zeros(visible.shape).masked_fill(~visible, lowest),
        "heads": visible[:, None],
        "added heads": torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)[:, None].expand(-1, 4, -1, -1),
    }[kind]


@pytest.mark.parametrize("kind", ["boolean", "ones", "added", "heads", "added heads"])
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_mask_of_each_query_is_followed(kind, is_decoder, tiny_model):
    """Catches stock RoFormer's trap: a boolean 4-D mask that is added to the scores, silently wrong."""
    tokens, model = torch.arange(20).view(2, 10), tiny_model(is_decoder=is_decoder)
    lengths = torch.tensor([7, 10])
    padding = torch.arange(10) < lengths[:, None]
    visible = padding[:, None, :].expand(2, 10, 10)
    if is_decoder:
        visible = visible.tril()
    expected = model(tokens, attention_mask=padding.long()).logits
    logits = model(tokens, attention_mask=_written(visible, kind)).logits
    torch.testing.assert_close(logits[padding], expected[padding])


def test_mask_may_show_later_tokens(tiny_model):
    """Catches a causal mask on top of one that says otherwise, as for a prefix whose tokens see each other."""
    tokens = torch.arange(10)[None]
    whole = torch.ones(1, 10, 10, dtype=torch.bool)
    seen = tiny_model(is_decoder=True)(tokens, attention_mask=whole).logits
    changed = tiny_model(is_decoder=True)(tokens.clone().index_fill(1, torch.tensor([9]), 30), attention_mask=whole)
    assert (seen[0, 0] - changed.logits[0, 0]).abs().max() > 1e-3


def test_mask_of_numbers_between_is_refused(tiny_model):
    """Catches a soft mask that would be rounded, and a mask of 0.0 and 1.0 that would be read the wrong way round."""
    for mask in (torch.full((1, 1, 10, 10), 0.5), torch.ones(1, 1, 10, 10)):
        with pytest.raises(UserError, match=r"0\.0 for tokens that are seen"):
            tiny_model()(torch.ones(1, 10, dtype=torch.long), attention_mask=mask)


@pytest.mark.parametrize("shape", [(2, 9), (3, 10), (10,), (2, 9, 10), (3, 1, 10, 10), (2, 1, 1, 1, 10)], ids=str)
def test_mask_of_another_size_is_refused(shape, tiny_model):
    """Catches a traceback from inside the attention where the mask does not fit the tokens."""
    with pytest.raises(UserError, match="attention_mask"):
        tiny_model()(torch.ones(2, 10, dtype=torch.long), attention_mask=torch.ones(shape))


@pytest.mark.parametrize("batch", [1, 2])
def test_padded_and_packed_at_once_is_refused(batch, tiny_model):
    """Catches a mask that is dropped beside cu_seqlens, and several rows that are packed at once."""
    tokens = torch.ones(batch, 10, dtype=torch.long)
    mask = {"attention_mask": torch.ones(1, 10)} if batch == 1 else {}
    with pytest.raises(UserError, match=r"packed input is \(1, T\) with cu_seqlens and no attention_mask"):
        tiny_model()(tokens, cu_seqlens=torch.tensor([0, 4, 10]), **mask)
