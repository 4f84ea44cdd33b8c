"""Every backend against eq. 2, one query at a time in float64: what all backends share could be wrong in all."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, SequenceLayout
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding

B, H, L, D = 2, 3, 5, 4
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


def equation_2(query, key, value, mask, bias):
    """Returns outputs and weights of softmax(q k / sqrt(d) + bias), over the keys that the mask allows."""
    outputs, weights = torch.zeros_like(value), torch.zeros(B, H, L, L, dtype=value.dtype)
    for b in range(B):
        seen = mask[b].nonzero()[:, 0]
        for h in range(H):
            for m in range(L):
                scores = torch.stack([query[b, h, m] @ key[b, h, n] / D**0.5 + bias[b, h, m, n] for n in seen])
                weights[b, h, m, seen] = scores.exp() / scores.exp().sum()
                outputs[b, h, m] = weights[b, h, m] @ value[b, h]
    return outputs, weights


def attend(backend, heads, position, mask, layer=0, **settings):
    module = ATTENTION_BACKENDS[backend](**{"dropout": 0.0, "rotary_value": False, **settings})
    state = position.prepare(torch.arange(L)[None])
    output, weights = module(*heads, position=position, state=state, layout=SequenceLayout.padded(mask), layer=layer)
    return output.unflatten(-1, (H, D)).transpose(1, 2), weights


@pytest.mark.parametrize("mask", [None, MASK, MASK.bool()], ids=["all", "numbers", "boolean"])
@pytest.mark.parametrize("layer", [0, 2])
def test_backend_is_equation_2(backend, heads, bias, mask, layer):
    """Catches a missing scale, a bias that is scaled, dropped, transposed or of another layer, and a lost mask."""
    given, weights = attend(backend, heads, AddedScores(bias), mask, layer)
    expected, expected_weights = equation_2(*heads, MASK if mask is not None else torch.ones(B, L), (layer + 1) * bias)
    torch.testing.assert_close(given, expected)
    if weights is not None:
        torch.testing.assert_close(weights, expected_weights)


@pytest.mark.parametrize("shape", [(1, 1), (1, H), (B, 1)])
def test_bias_may_be_shared_by_batch_or_heads(backend, heads, bias, shape):
    """Catches a bias and a mask that are combined in a shape that fits only one of them."""
    shared = bias[: shape[0], : shape[1]]
    given, _ = attend(backend, heads, AddedScores(shared), MASK)
    torch.testing.assert_close(given, equation_2(*heads, MASK, shared.expand(B, H, L, L))[0])


@pytest.mark.parametrize("rotary_value", [False, True])
def test_backend_rotates_as_equation_16(backend, heads, rotary_value):
    """Catches a backend that rotates only one of query and key, or the values against the setting."""
    rope = POSITION_ENCODINGS["rope"](ModelShape(hidden_size=H * D, num_attention_heads=H))
    query, key, value = (x.float() for x in heads)
    given, _ = attend(backend, (query, key, value), rope, MASK, rotary_value=rotary_value)
    query, key = rope(query, key, torch.arange(L)[None])
    value = rope(value, value, torch.arange(L)[None])[0] if rotary_value else value
    torch.testing.assert_close(given, equation_2(query, key, value, MASK, torch.zeros(B, H, L, L))[0].float())


def test_dropout_keeps_the_mean(backend):
    """Catches dropout of the wrong share, or without the factor that keeps the expected output."""
    module = ATTENTION_BACKENDS[backend](dropout=0.25, rotary_value=False).train()
    torch.manual_seed(0)
    zeros, value = torch.zeros(1, 4, 200, 8), torch.zeros(1, 4, 200, 8)
    value[..., 0, :] = 200.0  # every weight is 1/200: an output is 0 where its first weight is dropped, else 1/0.75
    output, _ = module.attend(zeros, zeros, value, None, None)
    assert output.mean().item() == pytest.approx(1, abs=0.05)
    assert (output[..., 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(1, 1), (B, H)])
def test_gradients_are_those_of_the_formula(backend, heads, bias, dropout, shape):
    """Catches a backward pass that drops other weights than the forward pass, and a bias that is not learnt."""
    module = ATTENTION_BACKENDS[backend](dropout=dropout, rotary_value=False).train()
    mask = MASK.bool()[:, None, None, :]

    def attend(*tensors):
        torch.manual_seed(0)  # the same elements are dropped in every call
        return module.attend(*tensors[:3], mask, tensors[3])[0]

    leaves = [x.clone().requires_grad_() for x in (*heads, bias[: shape[0], : shape[1]])]
    assert torch.autograd.gradcheck(attend, leaves)


def test_dropout_is_drawn_anew(backend):
    """Catches one pattern of dropped weights in every call, or in every block of a call."""
    module = ATTENTION_BACKENDS[backend](dropout=0.5, rotary_value=False).train()
    value = torch.randn(2, 3, L, 8, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros_like(value)
    torch.manual_seed(0)
    first, second = (module.attend(zeros, zeros, value, None, None)[0] for _ in range(2))
    assert not torch.equal(first, second)
    value = value[:1, :1].expand_as(value)
    rows = module.attend(zeros, zeros, value, None, None)[0].flatten(0, 2)
    assert len(rows.unique(dim=0)) > len(rows) // 2


def test_row_of_padding_only_is_no_nan(backend, heads):
    """Catches a softmax over nothing, whose nan would spread from one empty row to the loss."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    assert attend(backend, heads, PositionEncoding(), mask)[0].isfinite().all()
