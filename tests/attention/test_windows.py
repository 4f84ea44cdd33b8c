"""Windows: each token attends to a few to each side, exactly as with a mask that says so, in every backend."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout, _windows
from roformer.position import ModelShape, PositionEncoding
from tests.choices import SOFTMAX

B, H, L, D = 2, 2, 23, 4
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H)
PADDING = torch.ones(B, L, dtype=torch.bool)
PADDING[0, 9:] = False  # on the right, wider than a window
PADDING[1, :5] = False
MASKS = {"whole": None, "padded": PADDING, "unilm": PADDING[:, None] & torch.ones(B, L, L).tril(3).bool()}


class Biased(PositionEncoding):
    """Adds numbers that depend on query, key and head; the state numbers the tokens."""

    def prepare(self, position_ids):
        return (position_ids[:, None, :, None].double(),)

    def score_bias(self, query, key, state, *, layer):
        (positions,) = state
        return (
            torch.sin(positions[:, :, -query.shape[2] :] * 1.7 + positions.mT) * torch.arange(1, H + 1)[:, None, None]
        )


CASES = [
    pytest.param(name, position, id=f"{name}-{type(position).__name__}")
    for name in (*SOFTMAX, "auto")
    for position in (PositionEncoding(), Biased())
    if ATTENTION_BACKENDS[name].refusal(position) is None
]


@pytest.fixture(autouse=True)
def _small_blocks(small_blocks, monkeypatch):
    """Lets short documents fill several blocks, of scores and of windows."""
    monkeypatch.setattr(_windows, "_ROWS", 3)


@pytest.fixture
def heads():
    """Query, key and value: each (B, H, L, D), float64."""
    return torch.randn(3, B, H, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)


def band(queries, keys, window, causal):
    """(queries, keys), written out: the queries are the last tokens."""
    return torch.tensor(
        [[-window <= k - q <= (0 if causal else window) for k in range(keys)] for q in range(keys - queries, keys)]
    )


def attend(backend, tensors, layout, position=None, **more):
    """Returns the output, the weights, and the leaves that gradients reach."""
    module = ATTENTION_BACKENDS[backend](SHAPE, dropout=0.0, rotary_value=False)
    position = position or PositionEncoding()
    state = position.prepare(torch.arange(tensors[1].shape[2])[None])
    leaves = [x.clone().requires_grad_() for x in tensors]
    query, key, value = leaves
    output, weights = module(
        AttentionInputs(
            query=query, key=key, value=value, position=position, state=state, layout=layout, layer=0, **more
        )
    )
    return output, weights, leaves


def assert_same(found, expected, rows=...):
    """Compares outputs and gradients of some rows."""
    (output, _, leaves), (other, _, others) = found, expected
    torch.testing.assert_close(output[rows], other[rows])
    factors = torch.arange(output[rows].numel()).view_as(output[rows]).double().cos()
    for result, inputs in ((output, leaves), (other, others)):
        (result[rows] * factors).sum().backward()
        assert all(x.grad.isfinite().all() for x in inputs)
    for leaf, other_leaf in zip(leaves, others, strict=True):
        torch.testing.assert_close(leaf.grad, other_leaf.grad)


@pytest.mark.parametrize(("backend", "position"), CASES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("window", [1, 2, 5, L - 2, L])
def test_a_window_is_a_mask(backend, heads, position, mask, causal, window):
    """Catches a window that is off by one, one-sided, dropped with a mask or a bias, or cut at a block's border, and
    padding far from any token whose nan spreads to gradients."""
    given = MASKS[mask]
    layout = SequenceLayout.padded(given, causal=causal)
    keep = torch.ones(1, 1, 1, dtype=torch.bool) if given is None else (given if given.dim() == 3 else given[:, None])
    dense = (keep & band(L, L, window, layout.causal))[:, None]
    found = attend(backend, heads, SequenceLayout(layout.mask, causal=layout.causal, window=window), position)
    expected = attend("eager", heads, SequenceLayout(mask=dense), position)
    assert_same(found, expected, dense[:, 0].any(-1).expand(B, L))
