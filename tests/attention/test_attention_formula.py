"""Every backend against eq. 2, one query at a time in float64: what all backends share could be wrong in all."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding
from tests.choices import each_backend, each_backend_with_bias

pytestmark = pytest.mark.usefixtures("small_blocks")

B, H, L, D = 2, 3, 5, 4
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]])


class AddedScores(PositionEncoding):
    """Adds given numbers to the scores, different in each batch, head, query, key and layer."""

    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def score_bias(self, query, key, state, *, layer):
        return (layer + 1) * self.bias


@pytest.fixture
def heads():
    """Query, key and value: each (B, H, L, D), float64."""
    return torch.randn(3, B, H, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)


@pytest.fixture
def bias():
    return torch.randn(B, H, L, L, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def equation_2(query, key, value, mask, bias, causal=False):
    """Returns outputs and weights of softmax(q k / sqrt(d) + bias), over the keys that the mask allows."""
    outputs, weights = torch.zeros_like(value), torch.zeros(B, H, L, L, dtype=value.dtype)
    for b in range(B):
        allowed = mask[b].nonzero()[:, 0]
        for h in range(H):
            for m in range(L):
                seen = allowed[allowed <= m] if causal else allowed
                scores = torch.stack([query[b, h, m] @ key[b, h, n] / D**0.5 + bias[b, h, m, n] for n in seen])
                weights[b, h, m, seen] = scores.exp() / scores.exp().sum()
                outputs[b, h, m] = weights[b, h, m] @ value[b, h]
    return outputs, weights


def attend(backend, heads, position, mask, layer=0, causal=False, **settings):
    module = ATTENTION_BACKENDS[backend](SHAPE, **{"dropout": 0.0, "rotary_value": False, **settings})
    state = position.prepare(torch.arange(L)[None])
    layout = SequenceLayout.padded(mask, causal=causal)
    query, key, value = heads
    output, weights = module(
        AttentionInputs(query=query, key=key, value=value, position=position, state=state, layout=layout, layer=layer)
    )
    return output.unflatten(-1, (H, D)).transpose(1, 2), weights


@each_backend_with_bias
@pytest.mark.parametrize("mask", [None, MASK, MASK.bool()], ids=["all", "numbers", "boolean"])
@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_backend_is_equation_2(backend, heads, bias, mask, layer, causal):
    """Catches a missing scale, a bias that is scaled, dropped, transposed or of another layer, a lost mask, and a
    decoder that sees the future."""
    given, weights = attend(backend, heads, AddedScores(bias), mask, layer, causal)
    allowed = MASK if mask is not None else torch.ones(B, L)
    expected, expected_weights = equation_2(*heads, allowed, (layer + 1) * bias, causal)
    torch.testing.assert_close(given, expected)
    if weights is not None:
        torch.testing.assert_close(weights, expected_weights)


@each_backend_with_bias
@pytest.mark.parametrize("shape", [(1, 1), (1, H), (B, 1)])
def test_bias_may_be_shared_by_batch_or_heads(backend, heads, bias, shape):
    """Catches a bias and a mask that are combined in a shape that fits only one of them."""
    shared = bias[: shape[0], : shape[1]]
    given, _ = attend(backend, heads, AddedScores(shared), MASK)
    torch.testing.assert_close(given, equation_2(*heads, MASK, shared.expand(B, H, L, L))[0])


@each_backend
def test_plain_causal_attention(backend, heads):
    """Catches a kernel of its own for this case that sees other keys."""
    given, _ = attend(backend, heads, PositionEncoding(), None, causal=True)
    expected, _ = equation_2(*heads, torch.ones(B, L), torch.zeros(B, H, L, L), causal=True)
    torch.testing.assert_close(given, expected)


@each_backend
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("rotary_value", [False, True])
def test_last_queries_see_the_text_before_them(backend, heads, queries, rotary_value):
    """Catches queries of a growing text that are turned as its first ones, or see too few keys, or too many."""
    rope = POSITION_ENCODINGS["rope"](SHAPE)
    query, key, value = heads
    whole, last = (
        attend(backend, (query[:, :, start:], key, value), rope, None, causal=True, rotary_value=rotary_value)[0]
        for start in (0, L - queries)
    )
    torch.testing.assert_close(last, whole[:, :, L - queries :])


@each_backend
@pytest.mark.parametrize("rotary_value", [False, True])
def test_backend_rotates_as_equation_16(backend, heads, rotary_value):
    """Catches a backend that rotates only one of query and key, or the values against the setting."""
    rope = POSITION_ENCODINGS["rope"](SHAPE)
    query, key, value = (x.float() for x in heads)
    given, _ = attend(backend, (query, key, value), rope, MASK, rotary_value=rotary_value)
    query, key = rope(query, key, torch.arange(L)[None])
    value = rope(value, value, torch.arange(L)[None])[0] if rotary_value else value
    torch.testing.assert_close(given, equation_2(query, key, value, MASK, torch.zeros(B, H, L, L))[0].float())


@each_backend
def test_dropout_keeps_the_mean(backend):
    """Catches dropout of the wrong share, or without the factor that keeps the expected output."""
    module = ATTENTION_BACKENDS[backend](SHAPE, dropout=0.25, rotary_value=False).train()
    torch.manual_seed(0)
    zeros, value = torch.zeros(1, 4, 200, 8), torch.zeros(1, 4, 200, 8)
    value[..., 0, :] = 200.0  # every weight is 1/200: an output is 0 where its first weight is dropped, else 1/0.75
    output, _ = module.scaled_dot_product(zeros, zeros, value, bias=None, mask=None, causal=False)
    assert output.mean().item() == pytest.approx(1, abs=0.05)
    assert (output[..., 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


@each_backend_with_bias
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(1, 1), (B, H)])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_gradients_are_those_of_the_formula(backend, heads, bias, dropout, shape, causal):
    """Catches a backward pass that drops other weights than the forward pass, and a bias that is not learnt."""
    module = ATTENTION_BACKENDS[backend](SHAPE, dropout=dropout, rotary_value=False).train()
    mask = MASK.bool()[:, None, None, :]

    def attend(*tensors):
        torch.manual_seed(0)  # the same elements are dropped in every call
        return module.scaled_dot_product(*tensors[:3], bias=tensors[3], mask=mask, causal=causal)[0]

    leaves = [x.clone().requires_grad_() for x in (*heads, bias[: shape[0], : shape[1]])]
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


@each_backend
def test_dropout_is_drawn_anew(backend):
    """Catches one pattern of dropped weights in every call, or in every block of a call."""
    module = ATTENTION_BACKENDS[backend](SHAPE, dropout=0.5, rotary_value=False).train()
    value = torch.randn(2, 3, L, 8, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros_like(value)
    torch.manual_seed(0)
    plain = {"bias": None, "mask": None, "causal": False}
    first, second = (module.scaled_dot_product(zeros, zeros, value, **plain)[0] for _ in range(2))
    assert not torch.equal(first, second)
    value = value[:1, :1].expand_as(value)
    rows = module.scaled_dot_product(zeros, zeros, value, **plain)[0].flatten(0, 2)
    assert len(rows.unique(dim=0)) > len(rows) // 2


@each_backend
def test_row_of_padding_only_is_no_nan(backend, heads):
    """Catches a softmax over nothing, whose nan would spread from one empty row to the loss."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    assert attend(backend, heads, PositionEncoding(), mask)[0].isfinite().all()
