"""Every encoding of distances against transformers, x-transformers, or its formula written out token by token."""

import dataclasses
import math

import pytest
import torch
from transformers import BloomConfig, DebertaV2Config, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.models.t5.modeling_t5 import T5Attention
from x_transformers.x_transformers import CoPE, RotaryEmbedding, apply_rotary_pos_emb

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape
from roformer.position.alibi import slopes
from tests.choices import SOFTMAX

B, H, L, D, LAYER = 2, 4, 9, 8, 1
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H, num_hidden_layers=2, max_position_embeddings=64)
POSITIONS = torch.stack((torch.arange(L), torch.tensor([0, 2, 3, 7, 8, 20, 21, 40, 41])))


@pytest.fixture
def inputs():
    """Query, key and value, (B, H, L, D)."""
    return torch.randn(3, B, H, L, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)


@pytest.fixture
def built(visible_weights):
    """Builds an encoding in float64 with weights that show."""

    def build(name, shape=SHAPE, **settings):
        return visible_weights(POSITION_ENCODINGS[name](shape, **settings)).double()

    return build


def bias_of(encoding, query, key):
    return encoding.score_bias(query, key, encoding.prepare(POSITIONS), layer=LAYER).expand(B, H, L, L)


def written_out(term):
    """(B, H, L, L) from a function of batch element, head, m's place, n's place, m and n."""
    result = torch.zeros(B, H, L, L, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            for i, m in enumerate(POSITIONS[b].tolist()):
                for j, n in enumerate(POSITIONS[b].tolist()):
                    result[b, h, i, j] = term(b, h, i, j, m, n)
    return result


def assert_same(ours, expected, atol=2e-5):
    torch.testing.assert_close(ours, expected, atol=atol, rtol=0, check_dtype=False)


@pytest.mark.parametrize("heads", [1, 4, 6, 8, 12, 16])
def test_alibi_is_blooms(heads):
    """Catches wrong slopes where the heads are no power of 2, and a bias that grows with the distance."""
    encoding = POSITION_ENCODINGS["alibi"](ModelShape(hidden_size=heads * D, num_attention_heads=heads))
    nothing = torch.empty(1, heads, L, D)
    ours = encoding.score_bias(nothing, nothing, encoding.prepare(torch.arange(L)[None]), layer=0)
    config = BloomConfig(n_head=heads, hidden_size=heads * D)
    theirs = build_alibi_tensor(torch.ones(1, L), config.n_head, torch.float32).view(heads, 1, L)
    # theirs counts keys from the start, which softmax cannot tell from counting back from the query
    before = torch.ones(L, L).tril().bool()
    shifted = theirs - theirs.transpose(1, 2)
    assert_same(ours[0][:, before], shifted[:, before], atol=1e-6)
    assert_same(ours, ours.mT, atol=0)


def test_asymmetric_alibi_has_a_slope_a_side(built, inputs):
    """Catches slopes that are swapped, or shared."""
    encoding = built("alibi", asymmetric=True)
    before, after = (encoding.log_changes.exp() * slopes(H)).tolist()

    def term(b, h, i, j, m, n):
        return -before[h] * (m - n) if m > n else -after[h] * (n - m)

    assert_same(bias_of(encoding, *inputs[:2]), written_out(term))


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_t5_is_transformers(built, causal):
    """Catches wrong buckets, sides that are swapped, and a decoder that keeps half of its buckets for keys that no
    query sees."""
    encoding = built("t5", shape=dataclasses.replace(SHAPE, causal=causal))
    relative = torch.arange(-300, 301)
    buckets = T5Attention._relative_position_bucket(
        relative, bidirectional=not causal, num_buckets=32, max_distance=128
    )
    positions = torch.tensor([[0, *range(2, 300)]])
    nothing = torch.empty(1, H, positions.shape[1], D)
    bias = encoding.score_bias(nothing, nothing, encoding.prepare(positions), layer=0)[0]
    for row, column in ((0, slice(None)), (slice(None), 0)):
        offset = (positions[0] - 0) if row == 0 else (0 - positions[0])
        expected = encoding.table.weight[buckets[offset + 300]].T
        assert_same(bias[:, row, column], expected, atol=0)


def test_deberta_is_transformers(built, inputs):
    """Catches the two terms swapped, a wrong scale, a wrong end of the table."""
    encoding = built("deberta", max_distance=6)
    config = DebertaV2Config(
        hidden_size=H * D, num_attention_heads=H, relative_attention=True, pos_att_type=["c2p", "p2c"],
        max_relative_positions=6, position_buckets=-1, share_att_key=False, hidden_dropout_prob=0.0,
    )  # fmt: skip
    theirs = DisentangledSelfAttention(config).double()
    theirs.pos_key_proj.load_state_dict({"weight": encoding.keys[LAYER].weight, "bias": torch.zeros(H * D)})
    theirs.pos_query_proj.load_state_dict(encoding.queries[LAYER].state_dict())
    for b in range(B):
        query, key = (x[b] for x in inputs[:2])
        relative = (POSITIONS[b][:, None] - POSITIONS[b][None, :])[None]
        expected = theirs.disentangled_attention_bias(query, key, relative, encoding.table.weight, 3)
        assert_same(bias_of(encoding, *inputs[:2])[b], expected)
    assert encoding.softmax_scale(D) == (3 * D) ** -0.5


def test_kerple(built, inputs):
    """Catches r1 and r2 that are swapped, a wrong sign, and parameters of another layer."""
    for variant in ("log", "power"):
        encoding = built("kerple", variant=variant)
        first = torch.nn.functional.softplus(encoding.scale[LAYER]).tolist()
        raw = encoding.shape[LAYER]
        second = (torch.nn.functional.softplus(raw) if variant == "log" else 2 * raw.sigmoid()).tolist()

        def term(b, h, i, j, m, n, first=first, second=second, variant=variant):
            distance = abs(m - n)
            grown = math.log(1 + second[h] * distance) if variant == "log" else distance ** second[h]
            return -first[h] * grown

        assert_same(bias_of(encoding, *inputs[:2]), written_out(term))


def test_fire(built, inputs):
    """Catches a denominator of the key's position, a threshold that is not used, and a sign that is lost."""
    encoding = built("fire")
    with torch.no_grad():
        encoding.threshold_change.fill_(math.log(10.0 / encoding.threshold))
    c = encoding.compression * encoding.compression_change.exp().item()

    def term(b, h, i, j, m, n):
        share = math.copysign(math.log(1 + c * abs(m - n)), m - n) / math.log(1 + c * max(m, 10.0))
        return encoding.network(torch.tensor([share], dtype=torch.float64))[h]

    with torch.no_grad():
        assert_same(bias_of(encoding, *inputs[:2]), written_out(term))


def test_sandwich(built, inputs):
    """Catches waves that are not those of eq. 4, and heads in the wrong order."""
    encoding = built("sandwich", size=16)

    def term(b, h, i, j, m, n):
        products = sum(math.cos((m - n) / 10000 ** (2 * t / 16)) for t in range(8))
        return (products - 8) * H / (8 * (h + 1))

    assert_same(bias_of(encoding, *inputs[:2]), written_out(term), atol=1e-4)


def test_transformer_xl(built, inputs):
    """Catches u and v that are swapped, a distance with the wrong sign, and the matrix of another layer."""
    encoding, (query, key, _) = built("transformer_xl"), inputs
    u, v = encoding.content_bias[LAYER, :, 0], encoding.position_bias[LAYER, :, 0]

    def term(b, h, i, j, m, n):
        angles = (m - n) * 10000.0 ** (-torch.arange(0, H * D, 2, dtype=torch.float64) / (H * D))
        wave = encoding.project[LAYER](torch.cat((angles.sin(), angles.cos())))[h * D : (h + 1) * D]
        return (u[h] @ key[b, h, j] + (query[b, h, i] + v[h]) @ wave) / math.sqrt(D)

    with torch.no_grad():
        assert_same(bias_of(encoding, query, key), written_out(term))


def test_shaw_in_keys_and_values(built, inputs):
    """Catches eq. 5 with the vectors of another distance or layer, or without those of the values."""
    encoding, (query, key, value) = built("shaw", max_distance=3), inputs
    keys, values = (x.weight.view(2, 7, D)[LAYER] for x in (encoding.keys, encoding.values))

    def score(b, h, i, j, m, n):
        return query[b, h, i] @ (key[b, h, j] + keys[max(-3, min(3, m - n)) + 3]) / math.sqrt(D)

    weights = written_out(score).softmax(-1)
    expected = torch.zeros_like(query)
    for b in range(B):
        for h in range(H):
            for i in range(L):
                for j in range(L):
                    distance = int(POSITIONS[b, i] - POSITIONS[b, j])
                    expected[b, h, i] += weights[b, h, i, j] * (value[b, h, j] + values[max(-3, min(3, distance)) + 3])
    for name in SOFTMAX:
        backend = ATTENTION_BACKENDS[name](SHAPE, dropout=0.0, rotary_value=False).eval()
        state = encoding.prepare(POSITIONS)
        ours, _ = backend(
            AttentionInputs(
                query=query, key=key, value=value, position=encoding, state=state, layout=SequenceLayout(), layer=LAYER
            )
        )
        assert_same(ours, expected.transpose(1, 2).flatten(2))


def test_tupe(built, inputs):
    """Catches a scale without the factor 2, a first token that is not untied, and a relative part that is lost."""
    encoding = built("tupe")
    vectors = encoding.norm(encoding.absolute.table.weight)
    queries, keys = (each(vectors).unflatten(-1, (H, D)) for each in (encoding.queries, encoding.keys))
    t5 = encoding.relative.score_bias(*inputs[:2], encoding.relative.prepare(POSITIONS), layer=0).expand(B, H, L, L)

    def term(b, h, i, j, m, n):
        if m == 0:
            return encoding.from_first[h].item() + t5[b, h, i, j]
        if n == 0:
            return encoding.to_first[h].item() + t5[b, h, i, j]
        return queries[m, h] @ keys[n, h] / math.sqrt(2 * D) + t5[b, h, i, j]

    with torch.no_grad():
        assert_same(bias_of(encoding, *inputs[:2]), written_out(term))
    assert encoding.softmax_scale(D) == (2 * D) ** -0.5


def test_cope_before_the_query_is_x_transformers(built, inputs):
    """Catches counts that begin at the wrong end, and interpolation the wrong way round."""
    encoding, (query, key, _) = built("cope", max_count=3), inputs
    theirs = CoPE(D, H, 4).double()
    theirs.pos_emb.data.copy_(encoding.before.weight.view(2, 4, D)[LAYER])
    logits = query @ key.mT * D**-0.5
    causal = torch.ones(L, L).triu(1).bool()
    expected = theirs(query * D**-0.5, logits.masked_fill(causal, -torch.finfo(logits.dtype).max))
    ours = bias_of(encoding, query, key)
    assert_same(ours[..., ~causal], expected[..., ~causal])


def test_cope_after_the_query(built, inputs):
    """Catches keys after the query that are counted from the start of the text."""
    encoding, (query, key, _) = built("cope", max_count=3), inputs
    gates = (query @ key.mT * D**-0.5).sigmoid()
    table = encoding.after.weight.view(2, 4, D)[LAYER]

    def term(b, h, i, j, m, n):
        count = min(gates[b, h, i, i : j + 1].sum().item(), 3)
        below, above = table[math.floor(count)], table[math.ceil(count)]
        mixed = below + (count - math.floor(count)) * (above - below)
        return query[b, h, i] @ mixed / math.sqrt(D) if n > m else 0.0

    with torch.no_grad():
        later = torch.ones(L, L).triu(1).bool()
        assert_same(bias_of(encoding, query, key)[..., later], written_out(term)[..., later])


@pytest.mark.parametrize("inner", [{"name": "learned"}, {"name": "rope"}, {"name": "shaw"}], ids=str)
def test_randomized_positions_rise_within_each_document(inner):
    """Catches positions that repeat, that leave their range, or that are the same for all documents."""
    encoding = POSITION_ENCODINGS["randomized"](SHAPE, base_encoding=inner, max_sampled_position=50)
    row = torch.tensor([[*range(12), *range(5), *range(12)]])
    placed = encoding.train().map_positions(row)[0]
    documents = placed.split([12, 5, 12])
    for document in documents:
        assert (document.diff() > 0).all()
        assert document.min() >= 0
        assert document.max() < 50
    assert not torch.equal(documents[0], documents[2])
    assert torch.equal(encoding.eval().map_positions(row), row)
    with pytest.raises(UserError, match="below max_sampled_position"):
        encoding.train().map_positions(torch.arange(51)[None])


def test_randomized_draws_every_position(built):
    """Catches a draw that favors the start: over many documents each position comes up equally often."""
    torch.manual_seed(0)
    encoding = POSITION_ENCODINGS["randomized"](SHAPE, base_encoding={"name": "none"}, max_sampled_position=20).train()
    placed = torch.cat([encoding.map_positions(torch.arange(5)[None]) for _ in range(2000)])
    counts = placed.flatten().bincount(minlength=20) / 2000
    assert (counts - 0.25).abs().max() < 0.05


SCALINGS = {
    "rope_linear": ("linear", {"factor": 4.0}, {"factor": 4.0}),
    "rope_dynamic": ("dynamic", {"factor": 4.0, "original_max_position_embeddings": 100}, {"factor": 4.0}),
    "rope_yarn": (
        "yarn",
        {"factor": 4.0, "original_max_position_embeddings": 100},
        {"factor": 4.0, "original_max_position_embeddings": 100},
    ),
    "rope_longrope": (
        "longrope",
        {
            "factor": 4.0, "original_max_position_embeddings": 100,
            "short_factor": [1.0 + i / 10 for i in range(8)], "long_factor": [1.0 + i for i in range(8)],
        },
        {
            "factor": 4.0, "original_max_position_embeddings": 100,
            "short_factor": [1.0 + i / 10 for i in range(8)], "long_factor": [1.0 + i for i in range(8)],
        },
    ),
    "rope_llama3": (
        "llama3",
        {"factor": 8.0, "original_max_position_embeddings": 100},
        {
            "factor": 8.0, "original_max_position_embeddings": 100,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("length", [60, 100, 101, 400])
@pytest.mark.parametrize("name", SCALINGS)
def test_scaled_rope_is_transformers(name, length):
    """Catches an inverted blend, a base of the wrong exponent, a length that is compared the wrong way."""
    kind, ours, theirs = SCALINGS[name]
    encoding = POSITION_ENCODINGS[name](ModelShape(hidden_size=16), **ours)
    config = LlamaConfig(
        hidden_size=16, num_attention_heads=1, max_position_embeddings=100,
        rope_parameters={"rope_type": kind, "rope_theta": 10000.0, **theirs},
    )  # fmt: skip
    expected, magnitude = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
    frequencies = encoding.frequencies(torch.arange(length))
    torch.testing.assert_close(frequencies.float(), expected, rtol=1e-5, atol=0)
    assert encoding.attention_scaling == pytest.approx(magnitude)
    (turns,) = encoding.prepare(torch.arange(length)[None])
    torch.testing.assert_close(turns.abs(), torch.full_like(turns.abs(), magnitude))


def test_ntk_turns_the_slowest_pair_as_slowly_as_interpolation():
    """Catches a wrong exponent: the fastest pair keeps its pace, the slowest is slowed down by the factor."""
    plain, ntk = (POSITION_ENCODINGS[name](ModelShape(hidden_size=16)) for name in ("rope", "rope_ntk"))
    ratio = plain.frequencies(POSITIONS) / ntk.frequencies(POSITIONS)
    assert ratio[0] == pytest.approx(1.0)
    assert ratio[-1] == pytest.approx(4.0)


def test_learned_frequencies_start_at_ropes_and_are_trained(inputs):
    """Catches frequencies without a gradient."""
    learned, plain = (POSITION_ENCODINGS[name](SHAPE) for name in ("rope_learned", "rope"))
    query, key, _ = (x.float() for x in inputs)
    ours, expected = (x(query, key, POSITIONS) for x in (learned, plain))
    for our, their in zip(ours, expected, strict=True):
        assert_same(our, their, atol=1e-5)
    (ours[0] * ours[1]).sum().backward()
    assert learned.log_change.grad.abs().min() > 0


def test_sinusoids_and_rope_together(inputs):
    """Catches one of the two without the other, and waves of another size."""
    both = POSITION_ENCODINGS["sinusoidal_rope"](SHAPE, rope_theta=500.0, scale=0.3)
    rope, waves = (
        POSITION_ENCODINGS["rope"](SHAPE, rope_theta=500.0),
        POSITION_ENCODINGS["sinusoidal"](SHAPE, base=500.0, scale=0.3),
    )
    query, key, _ = inputs
    for ours, theirs in zip(both(query, key, POSITIONS), rope(query, key, POSITIONS), strict=True):
        assert torch.equal(ours, theirs)
    embeddings = torch.ones(B, L, H * D)
    assert torch.equal(both.embed(embeddings, POSITIONS), waves.embed(embeddings, POSITIONS))


def test_xpos_is_x_transformers(inputs):
    """Catches a decay of the wrong pair, or the same for queries and keys."""
    query, key, _ = (x.float() for x in inputs)
    positions = torch.arange(L)
    angles, scale = RotaryEmbedding(D, use_xpos=True, scale_base=512)(positions)
    expected = apply_rotary_pos_emb(query, angles, scale) @ apply_rotary_pos_emb(key, angles, scale**-1).mT
    ours = POSITION_ENCODINGS["xpos"](ModelShape(hidden_size=D))(query, key, positions[None])
    assert_same(ours[0] @ ours[1].mT, expected)


@pytest.mark.parametrize("name", ["rope_ntk", "rope_dynamic"])
def test_one_pair_has_no_slowest_and_fastest(name):
    """Catches a division by zero where a single pair is rotated."""
    with pytest.raises(UserError, match="needs two pairs"):
        POSITION_ENCODINGS[name](ModelShape(hidden_size=2))
