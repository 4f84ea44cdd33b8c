"""Linear attention against eq. 19 over all pairs of tokens in float64, FAVOR+ against softmax, what both refuse."""

import re

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.attention.favor_plus import orthogonal_features
from roformer.errors import UserError
from roformer.model import RoFormerForCausalLM, RoFormerForMaskedLM, RoFormerLabConfig
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding
from tests.choices import each_encoding, each_hook_and_linear_backend, each_linear_backend

pytestmark = pytest.mark.usefixtures("small_chunks")

B, H, L, D = 2, 3, 11, 8
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H, max_position_embeddings=64)
MASK = torch.ones(B, L, dtype=torch.long)
MASK[1, [2, 9, 10]] = 0
FEATURES = {
    "linear": (lambda q: torch.where(q > 0, q + 1, q.exp()), lambda k: torch.where(k > 0, k + 1, k.exp())),
    "efficient": (lambda q: q.exp() / q.exp().sum(), torch.exp),
}


@pytest.fixture
def heads():
    """Query, key and value: each (B, H, L, D), float64."""
    return torch.randn(3, B, H, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)


def inputs(query, key, value, position, state=(), layout=None):
    """Inputs of layer 0, without padding unless a layout is given."""
    layout = layout or SequenceLayout()
    return AttentionInputs(query=query, key=key, value=value, position=position, state=state, layout=layout, layer=0)


def attend(name, heads, *, mask=None, causal=False, position=None, shape=SHAPE, **settings):
    position = position or POSITION_ENCODINGS["rope"](shape)
    backend = ATTENTION_BACKENDS[name](shape, dropout=0.0, rotary_value=False, **settings).eval()
    state = position.prepare(torch.arange(heads[1].shape[2])[None])
    layout = SequenceLayout.padded(mask, causal=causal)
    output, weights = backend(inputs(*heads, position, state, layout))
    assert weights is None or name == "eager"
    return output.unflatten(-1, (heads[0].shape[1], -1)).transpose(1, 2)


def rotation(m):
    """The (D, D) matrix of eq. 15 at position m."""
    matrix = torch.zeros(D, D, dtype=torch.float64)
    for i in range(D // 2):
        angle = torch.tensor(m * 10000.0 ** (-2 * i / D), dtype=torch.float64)
        turn = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = turn
    return matrix


def equation_19(name, query, key, value, mask, causal):
    f, g = FEATURES[name]
    output = torch.zeros_like(value)
    for b in range(B):
        for h in range(H):
            for m in range(L):
                numerator, denominator = 0, 0
                for n in mask[b].nonzero()[:, 0].tolist():
                    if causal and n > m:
                        continue
                    fq, gk = f(query[b, h, m]), g(key[b, h, n])
                    numerator += (rotation(m) @ fq) @ (rotation(n) @ gk) * value[b, h, n]
                    denominator += fq @ gk
                output[b, h, m] = numerator / denominator
    return output


@pytest.mark.parametrize("name", sorted(FEATURES))
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize(("chunk", "block"), [(2, 2), (2, 16), (128, 16)])
def test_linear_attention_is_equation_19(name, heads, causal, chunk, block, monkeypatch):
    """Catches a rotated denominator, features that are rotated before they are made, padding that counts, and sums
    over chunks that miss a token or see a later one."""
    monkeypatch.setattr("roformer.attention.linear._CHUNK", chunk)
    monkeypatch.setattr("roformer.attention.linear._BLOCK", block)
    given = attend(name, heads, mask=MASK, causal=causal)
    torch.testing.assert_close(given, equation_19(name, *heads, MASK, causal), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_weights_of_equation_19_do_not_add_up_to_1(name, heads):
    """Catches a denominator that is rotated as the numerator is: the output of equal values would be these values."""
    query, key, _ = heads
    ones = torch.ones_like(query)
    assert (attend(name, (query, key, ones)) - 1).abs().max() > 0.01
    plain = attend(name, (query, key, ones), position=PositionEncoding())
    torch.testing.assert_close(plain, ones)


@each_linear_backend
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_gradients(linear_backend, heads, causal):
    """Catches sums that are cut from the graph."""
    position = PositionEncoding()
    backend = ATTENTION_BACKENDS[linear_backend](SHAPE, dropout=0.0, rotary_value=False).double().eval()
    leaves = [x[:1, :1, :5].clone().requires_grad_() for x in heads]
    layout = SequenceLayout(causal=causal)
    assert torch.autograd.gradcheck(lambda *x: backend.attend(inputs(*x, position, layout=layout))[0], leaves)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_features_approach_softmax_as_their_number_grows(causal):
    """Catches a wrong scale, a wrong norm, or features that favor some directions or lengths: the error would
    stay where it is, and not fall as 1 / sqrt(features)."""
    shape = ModelShape(hidden_size=16)
    generator = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 1, 1, 64, 16, dtype=torch.float64, generator=generator).unbind(0)
    heads = 0.35 * query, 0.35 * key, value  # of long vectors the error has too heavy tails to be measured
    exact = attend("eager", heads, causal=causal, shape=shape)
    counts, errors = [64, 512, 4096], []
    for count in counts:
        torch.manual_seed(0)
        approximations = [
            attend("favor_plus", heads, causal=causal, shape=shape, num_features=count) - exact for _ in range(24)
        ]
        errors.append(torch.stack(approximations).square().mean().sqrt().log())
    slope = (errors[-1] - errors[0]) / torch.tensor(counts[-1] / counts[0]).log()
    assert slope.item() == pytest.approx(-0.5, abs=0.05)
    assert errors[-1].exp() < 0.03 * exact.std()


@pytest.mark.parametrize("name", ["efficient", "favor_plus"])
def test_no_later_value_shows_where_weights_vanish(name):
    """Catches values that are centered on the mean of all, which is left where a much larger key comes later."""
    key = torch.zeros(1, 1, 3, D)
    key[..., 0, 0], key[..., 2, 0] = (-300.0, 300.0) if name == "efficient" else (60.0, 0.0)
    found = []
    for last in (1.0, 1000.0):
        value = torch.tensor([1.0, 2.0, last])[:, None].expand(1, 1, 3, D)
        found.append(attend(name, (0 * key, key, value), causal=True, position=PositionEncoding())[:, :, :2])
    torch.testing.assert_close(*found)


def test_features_are_orthogonal_and_gaussian_in_length():
    """Catches independent features, which need more of them, and unit ones, which are of another kernel."""
    torch.manual_seed(0)
    features = orthogonal_features(4096, 16)
    products = features[:16] @ features[:16].T
    torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-4, rtol=0)
    assert features.square().sum(-1).mean().item() == pytest.approx(16, rel=0.05)
    assert features.square().sum(-1).std().item() == pytest.approx(32**0.5, rel=0.1)


def test_features_are_redrawn_in_training_only(monkeypatch):
    """Catches features that change between two evaluations, and ones that never change."""
    backend = ATTENTION_BACKENDS["favor_plus"](SHAPE, dropout=0.0, rotary_value=False)
    x = torch.randn(1, H, L, D)

    def changes(backend, rarely):
        monkeypatch.setattr("roformer.attention.favor_plus._REDRAWN", rarely)
        before = backend.projection.clone()
        backend(inputs(x, x, x, PositionEncoding()))
        return not torch.equal(backend.projection, before)

    assert not changes(backend.eval(), 1)
    assert changes(backend.train(), 1)
    assert not changes(backend.train(), 10**9)
    backend.settled = True
    assert not changes(backend, 1)


@each_hook_and_linear_backend
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_packed_is_padded_is_one_document_at_a_time(
    encoding, linear_backend, is_decoder, tiny_model, documents, packed, padded
):
    """Catches sums over padding or over other documents."""
    model = tiny_model(encoding, attention_backend=linear_backend, is_decoder=is_decoder)
    alone = torch.cat([model(document[None]).logits[0] for document in documents])
    torch.testing.assert_close(model(**packed).logits[0], alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(model(**padded).logits[padded["attention_mask"].bool()], alone, atol=1e-4, rtol=0)
    wanted = packed["input_ids"] % 3 == 0
    part = model.roformer(**packed, query_indices=wanted[0].nonzero()[:, 0]).last_hidden_state
    torch.testing.assert_close(part, model.roformer(**packed).last_hidden_state[wanted])


@each_hook_and_linear_backend
def test_text_grows_with_a_cache(encoding, linear_backend, tiny_model):
    """Catches queries of a growing text that see too little, and keys that are turned to another place."""
    model = tiny_model(encoding, model_class=RoFormerForCausalLM, attention_backend=linear_backend, is_decoder=True)
    tokens = torch.randint(1, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    expected, cache, logits = model(tokens).logits, None, []
    for part in tokens.split((4, 1, 3, 1), dim=1):
        outputs = model(part, past_key_values=cache, use_cache=True)
        cache = outputs.past_key_values
        logits.append(outputs.logits)
    torch.testing.assert_close(torch.cat(logits, dim=1), expected, atol=1e-4, rtol=0)


def test_features_change_between_batches_only(tiny_model, packed, monkeypatch):
    """Catches features that are redrawn between two documents of a batch, on which its backward pass then dies."""
    monkeypatch.setattr("roformer.attention.favor_plus._REDRAWN", 1)
    model = tiny_model(attention_backend="favor_plus").train()
    before = model.roformer.layers[0].backend.projection.clone()
    model(**packed).logits.sum().backward()
    assert not torch.equal(model.roformer.layers[0].backend.projection, before)


def test_features_are_drawn_for_a_checkpoint_without_any(tiny_model, tmp_path, packed):
    """Catches features that are left unset, so that every logit is no number."""
    tiny_model(attention_backend="eager").save_pretrained(tmp_path)
    model = RoFormerForMaskedLM.from_pretrained(tmp_path, attention_backend="favor_plus")
    assert model(**packed).logits.isfinite().all()
    assert model.roformer.layers[0].backend.projection.std() > 0.5


@pytest.mark.parametrize("within", [False, True], ids=["plain", "randomized"])
def test_encodings_that_scale_are_refused_by_equation_19(within, sizes, position_settings):
    """Catches a numerator that is scaled beside a denominator that is not, and a wrapper that hides it."""
    position = position_settings["rope_yarn"]
    position = {"name": "randomized", "base_encoding": position} if within else position
    for name, allowed in (("linear", False), ("efficient", False), ("favor_plus", True)):
        config = RoFormerLabConfig(**sizes, position=position, attention_backend=name, is_decoder=True)
        if allowed:
            RoFormerForCausalLM(config)
        else:
            with pytest.raises(UserError, match="would scale the output"):
                RoFormerForCausalLM(config)


@pytest.mark.parametrize("settings", [None, {"num_features": 5}])
def test_saved_features_come_back(tiny_model, tmp_path, settings):
    """Catches random features that are drawn anew, or left unset, when a model is loaded, and a number of them that
    has no effect."""
    model = tiny_model(attention_backend="favor_plus", attention_settings=settings)
    assert len(model.roformer.layers[0].backend.projection) == (5 if settings else 16)  # 8 ln 8
    model.save_pretrained(tmp_path)
    tokens = torch.arange(1, 13)[None]
    torch.testing.assert_close(type(model).from_pretrained(tmp_path)(tokens).logits, model(tokens).logits)


@each_linear_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_long_texts_in_half_precision(linear_backend, causal, dtype):
    """Catches sums over a long text in bfloat16, which lose what is small, or in float16, which overflow."""
    shape = ModelShape(hidden_size=D, num_attention_heads=1)
    rope, layout = POSITION_ENCODINGS["rope"](shape), SequenceLayout.padded(None, causal=causal)
    heads = torch.randn(3, 1, 1, 20_000, D, generator=torch.Generator().manual_seed(0)).to(dtype)
    heads[2] += 4  # of which what matters to queries and keys is a small part
    backend = ATTENTION_BACKENDS[linear_backend](shape, dropout=0.0, rotary_value=False).eval()
    state = rope.prepare(torch.arange(20_000)[None])
    found = []
    for each in (heads, heads.double()):
        each.requires_grad_()
        output, _ = backend(inputs(*each.unbind(0), rope, state, layout))
        (output * torch.linspace(-1, 1, D, dtype=each.dtype)).sum().backward()
        found.append((output.detach().double(), *each.grad.double()))
    # numerator and denominator of eq. 19 are two passes, each rounded, of which the gradient is a difference
    most = 0.02 if linear_backend == "favor_plus" else 0.08
    for given, expected in zip(*found, strict=True):
        assert (given - expected).norm() < most * expected.norm()


@each_linear_backend
def test_bfloat16_stays_near_float32(linear_backend, tiny_model, packed):
    """Catches features in bfloat16."""
    model = tiny_model(attention_backend=linear_backend, std=0.1)
    expected = model(**packed).logits
    with torch.autocast("cpu", torch.bfloat16):
        given = model(**packed).logits
    assert (given.float() - expected).norm() < 0.05 * expected.norm()


@each_encoding
@each_linear_backend
def test_encodings_are_refused_by_their_traits(linear_backend, encoding, position_settings, sizes):
    """Catches a bias that is dropped in silence, and a rotation that the operator cannot honor."""
    settings = position_settings[encoding]
    config = RoFormerLabConfig(**sizes, position=settings, attention_backend=linear_backend, is_decoder=True)
    position = POSITION_ENCODINGS.build(settings, config.shape)
    refused = "decaying" if linear_backend == "favor_plus" else "scaled"
    if position.adds_to_scores or position.adds_to_values:
        named = "no scores that this position encoding could add to"
    elif position.traits.rotation == refused:
        named = "lengths of queries and keys" if refused == "decaying" else "would scale the output"
    else:
        RoFormerForCausalLM(config)
        return
    with pytest.raises(UserError, match=named):
        RoFormerForCausalLM(config)


@each_linear_backend
def test_refusals_list_the_encodings_that_fit(linear_backend):
    """Catches a message that names an encoding which is refused as well, or misses one that is not."""
    supported = ATTENTION_BACKENDS[linear_backend].supported_encodings()
    assert set(supported) >= {"rope", "learned", "none", "sinusoidal"}
    assert "alibi" not in supported
    assert ("xpos" in supported) == (linear_backend != "favor_plus") == ("rope_yarn" not in supported)
    with pytest.raises(UserError, match=re.escape(f"use attention=sdpa, or position={' | '.join(supported)}")):
        ATTENTION_BACKENDS[linear_backend].check(POSITION_ENCODINGS["alibi"](SHAPE))


@pytest.mark.parametrize(
    ("backend", "settings", "named"),
    [
        ("favor_plus", {"num_features": 0}, "num_features must be at least 1"),
        ("favor_plus", {"features": 5}, "did you mean 'num_features'"),
        ("linear", {"num_features": 5}, "it takes: no settings"),
    ],
)
def test_impossible_settings_are_refused(backend, settings, named, tiny_model):
    """Catches a typing error that leaves the default in place, and a division by no features."""
    with pytest.raises(UserError, match=named):
        tiny_model(attention_backend=backend, attention_settings=settings)


@each_linear_backend
def test_dropout_is_refused(linear_backend, sizes):
    """Catches dropout that is asked for and does not act."""
    config = RoFormerLabConfig(
        **{**sizes, "attention_probs_dropout_prob": 0.1}, attention_backend=linear_backend, is_decoder=True
    )
    with pytest.raises(UserError, match="attention_probs_dropout_prob=0"):
        RoFormerForCausalLM(config)


@each_linear_backend
def test_masks_are_refused(linear_backend, heads):
    """Catches a mask of pairs of tokens that is taken for one of padding."""
    backend = ATTENTION_BACKENDS[linear_backend](SHAPE, dropout=0.0, rotary_value=False)
    with pytest.raises(UserError, match="no masks"):
        backend.attend(inputs(*heads, PositionEncoding(), layout=SequenceLayout(mask=torch.ones(1, 1, L, L).bool())))
