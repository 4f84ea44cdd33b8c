"""Windows: each token attends to a few to each side, exactly as with a mask that says so, in every backend."""

from dataclasses import replace

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout, _windows
from roformer.errors import UserError
from roformer.position import ModelShape, PositionEncoding
from tests.choices import SOFTMAX, each_backend, each_linear_backend

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
    """(queries, keys): the queries are the last tokens."""
    to_key = torch.arange(keys) - torch.arange(keys - queries, keys)[:, None]
    return (to_key >= -window) & (to_key <= (0 if causal else window))


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
    factors = torch.arange(output[rows].numel()).view_as(output[rows]).cos()
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
    found = attend(backend, heads, replace(layout, window=window), position)
    expected = attend("eager", heads, SequenceLayout(mask=dense), position)
    assert_same(found, expected, dense[:, 0].any(-1).expand(B, L))


@each_backend
@pytest.mark.parametrize("mask", ["whole", "padded"])
@pytest.mark.parametrize("queries", [1, 4, 17])
def test_new_tokens_see_the_last_ones_of_a_cache(backend, heads, mask, queries):
    """Catches a window around the first tokens, and a token that reads its whole past."""
    query, key, value = heads
    keep = torch.ones(B, L, dtype=torch.bool) if MASKS[mask] is None else MASKS[mask]
    layout = SequenceLayout.padded(MASKS[mask], causal=queries > 1)  # a single token sees all before it
    found = attend(backend, (query[:, :, -queries:], key, value), replace(layout, window=3))
    dense = keep[:, None] & band(queries, L, 3, causal=True)
    expected = attend("eager", (query[:, :, -queries:], key, value), SequenceLayout(mask=dense[:, None]))
    assert_same(found, expected, dense.any(-1))


def test_a_new_token_costs_its_window(heads, monkeypatch):
    """Catches products with all keys of a cache, of which a mask then leaves a few."""
    shapes, kernel = [], ATTENTION_BACKENDS["sdpa"].scaled_dot_product

    def watched(self, query, key, value, **more):
        shapes.append((query.shape[2], key.shape[2]))
        return kernel(self, query, key, value, **more)

    monkeypatch.setattr(ATTENTION_BACKENDS["sdpa"], "scaled_dot_product", watched)
    query, key, value = heads
    attend("sdpa", (query[:, :, -1:], key, value), SequenceLayout(window=3))
    assert shapes == [(1, 4)]


@each_backend
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_packed_documents(backend, heads, causal):
    """Catches a window across the border of documents, and one that is lost where they are cut."""
    lengths = [1, 9, 9, 2, 14, 1, 10]
    tensors = [x.transpose(0, 1).flatten(1, 2)[None] for x in heads]
    documents = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    packed = SequenceLayout.packed(torch.tensor([0, *lengths]).cumsum(0), B * L, causal=causal)
    dense = band(B * L, B * L, 2, causal) & (documents[:, None] == documents)
    found = attend(backend, tensors, replace(packed, window=2))
    assert_same(found, attend("eager", tensors, SequenceLayout(mask=dense[None, None])))


@each_backend
@pytest.mark.parametrize("mask", ["whole", "padded"])
def test_needed_queries(backend, heads, mask):
    """Catches a window around the place among the needed queries, instead of the place in the text."""
    needed = torch.arange(B * L).view(B, L) % 5 == 2
    layout = SequenceLayout(SequenceLayout.padded(MASKS[mask]).mask, window=2)
    part, _, leaves = attend(backend, heads, layout, query_indices=needed.flatten().nonzero()[:, 0])
    whole, _, others = attend(backend, heads, layout)
    assert_same((part[None], None, leaves), (whole[needed][None], None, others))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("backend", ["blocked", "eager"])
def test_weights_outside_of_the_window_are_zero(backend, heads, mask, causal):
    """Catches small weights instead of none, also in the rows of padding, and weights that do not add up to 1."""
    padded = SequenceLayout.padded(MASKS[mask], causal=causal)
    weights = attend(backend, heads, replace(padded, window=2), output_attentions=True)[1]
    outside = ~band(L, L, 2, padded.causal)
    assert weights[..., outside].abs().max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, L, dtype=torch.float64))


@pytest.mark.parametrize("backend", ["blocked", "sdpa", "auto"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_of_the_usual_size(backend, dtype, monkeypatch):
    """Catches blocks that only the sizes of the other tests fill exactly."""
    monkeypatch.undo()
    tensors = torch.randn(3, 1, H, 1500, D, generator=torch.Generator().manual_seed(0)).to(dtype).unbind(0)
    with torch.no_grad():
        for window, causal in ((5, False), (64, True), (100, False)):
            found = attend(backend, tensors, SequenceLayout(causal=causal, window=window))[0]
            dense = SequenceLayout(mask=band(1500, 1500, window, causal)[None, None])
            expected = attend("eager", [x.float() for x in tensors], dense)[0]
            tolerance = 1e-5 if dtype == torch.float32 else 0.03
            torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_dropout_acts_within_blocks(heads, causal):
    """Catches blocks that skip dropout in training."""
    module = ATTENTION_BACKENDS["blocked"](SHAPE, dropout=0.5, rotary_value=False).train()
    query, key, value = heads
    terms = {"bias": None, "mask": None, "causal": causal, "window": 2}
    first, second = (module.local_attention(query, key, value, **terms)[0] for _ in range(2))
    whole = module.eval().local_attention(query, key, value, **terms)[0]
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    mean = sum(module.train().local_attention(query, key, value, **terms)[0] for _ in range(2000)) / 2000
    torch.testing.assert_close(mean, whole, atol=0.15, rtol=0)


def test_flash_attention_gets_the_window(heads):
    """Catches a kernel of the FlashAttention family that is given no window, or one whose count is transformers' total
    to one side: this many tokens and the query itself."""
    module, given = ATTENTION_BACKENDS["kernel"](SHAPE, dropout=0.0, rotary_value=False), []

    def flash(module, query, key, value, attention_mask, **more):
        given.append((attention_mask, more["is_causal"], more.get("sliding_window")))
        return query.transpose(1, 2), None

    module.mask_kind, module.function = "flash_attention", flash
    query, key, value = heads
    inputs = {"query": query, "key": key, "value": value, "position": PositionEncoding(), "state": (), "layer": 1}
    for layout in (SequenceLayout(window=4, causal=True), SequenceLayout(window=L), SequenceLayout()):
        module(AttentionInputs(**inputs, layout=layout))
    assert given == [(None, True, 5), (None, False, None), (None, False, None)]


@each_linear_backend
def test_linear_attention_refuses_a_window(linear_backend, heads):
    """Catches a window that is dropped in silence."""
    with pytest.raises(UserError, match=r"has no local attention: set model\.local_attention=null, or"):
        attend(linear_backend, heads, SequenceLayout(window=2))
