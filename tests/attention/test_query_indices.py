"""Attention from a part of the tokens to all: the same as all of it, cut afterwards."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.position import ModelShape, PositionEncoding
from tests.choices import each_backend

pytestmark = pytest.mark.usefixtures("small_blocks")

B, H, L, D = 3, 2, 7, 4
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H)
LENGTHS = torch.tensor([0, 4, 8, 10, 17, 21])  # packed: two documents of one length, then others
WANTED = torch.tensor(
    [[0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0, 1]]
).bool()  # not as many in each
PADDING = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])


class Biased(PositionEncoding):
    """Adds numbers that depend on query, key and head; the state numbers the tokens."""

    def prepare(self, position_ids):
        return (position_ids[:, None, :, None].double(),)

    def score_bias(self, query, key, state, *, layer):
        (positions,) = state
        return torch.sin(positions * 1.7 + positions.mT) * torch.arange(1, H + 1)[:, None, None]


@pytest.fixture
def queries():
    """Query, key and value, each (B, H, L, D), float64."""
    return torch.randn(3, B, H, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).unbind(0)


def attend(backend, tensors, layout, position, wanted):
    module = ATTENTION_BACKENDS[backend](SHAPE, dropout=0.0, rotary_value=False)
    state = position.prepare(torch.arange(tensors[0].shape[2])[None])
    leaves = [x.clone().requires_grad_() for x in tensors]
    query, key, value = leaves
    output, _ = module(
        AttentionInputs(
            query=query, key=key, value=value, position=position, state=state, layout=layout, layer=0,
            query_indices=None if wanted is None else wanted.flatten().nonzero()[:, 0],
        )
    )  # fmt: skip
    return output, leaves


def assert_same_part(backend, tensors, layout, position, wanted):
    part, leaves = attend(backend, tensors, layout, position, wanted)
    whole, other_leaves = attend(backend, tensors, layout, position, None)
    assert part.shape == (int(wanted.sum()), H * D)
    torch.testing.assert_close(part, whole[wanted])
    factors = torch.arange(part.numel()).view_as(part).double().cos()
    (part * factors).sum().backward()
    (whole[wanted] * factors).sum().backward()
    for leaf, other in zip(leaves, other_leaves, strict=True):
        torch.testing.assert_close(leaf.grad, other.grad)


@each_backend
@pytest.mark.parametrize("position", [PositionEncoding(), Biased()], ids=["plain", "biased"])
@pytest.mark.parametrize("mask", [None, PADDING], ids=["whole", "padded"])
@pytest.mark.parametrize(
    "wanted", [WANTED, torch.zeros(B, L, dtype=torch.bool), ~WANTED], ids=["some", "none", "most"]
)
def test_rows_of_a_batch(backend, queries, position, mask, wanted):
    """Catches outputs of other tokens, in another order, of the fillers, or with another row's bias."""
    assert_same_part(backend, queries, SequenceLayout.padded(mask), position, wanted)


@each_backend
@pytest.mark.parametrize("position", [PositionEncoding(), Biased()], ids=["plain", "biased"])
def test_packed_documents(backend, queries, position):
    """Catches a mask that is cut at other places than the documents, of which one is not wanted at all."""
    tensors = [x.transpose(0, 1).flatten(1, 2)[None] for x in queries]
    wanted = WANTED.flatten()[None].clone()
    wanted[:, 8:10] = False
    assert_same_part(backend, tensors, SequenceLayout.packed(LENGTHS, B * L), position, wanted)


@each_backend
def test_only_wanted_queries_are_computed(backend, queries, monkeypatch):
    """Catches a part that is cut from the whole: that costs the whole."""
    shapes, cls = [], ATTENTION_BACKENDS[backend]
    kernel = cls.scaled_dot_product

    def watched(self, query, key, value, **more):
        shapes.append(query.shape[2])
        return kernel(self, query, key, value, **more)

    monkeypatch.setattr(cls, "scaled_dot_product", watched)
    attend(backend, queries, SequenceLayout.padded(None), PositionEncoding(), WANTED)
    assert shapes == [int(WANTED.sum(1).max())]
