"""What makes RoPE relative, how its two layouts relate, how exact its angles are, and what it refuses."""

import pytest
import torch

from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape, RotaryEmbedding

HEADS, SIZE = 2, 16
SHAPE = ModelShape(hidden_size=HEADS * SIZE, num_attention_heads=HEADS)
LAYOUTS = ["interleaved", "half"]
FAR = 8191


def rope(**settings):
    return POSITION_ENCODINGS["rope"](SHAPE, **settings)


def random_heads(length, seed=0):
    return torch.randn(1, HEADS, length, SIZE, generator=torch.Generator().manual_seed(seed))


def true_angles(position, size=SIZE):
    return torch.tensor([position * 10_000 ** (-2 * i / size) for i in range(size // 2)], dtype=torch.float64)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("factor", [0.5, 1.0])
@pytest.mark.parametrize(("start", "stop"), [(7, 2), (2.5, 9.25), (0, -3.5)])
def test_score_depends_on_the_difference_only(layout, factor, start, stop):
    """Catches positions that are rounded to integers, and a sign that differs between query and key (eq. 16)."""
    encoding = rope(layout=layout, partial_rotary_factor=factor)
    query, key = random_heads(1, seed=0), random_heads(1, seed=1)

    def score(m, n):
        rotated_query = encoding.rotate(query, encoding.prepare(torch.tensor([[m]])))
        rotated_key = encoding.rotate(key, encoding.prepare(torch.tensor([[n]])))
        return (rotated_query * rotated_key).sum(-1)

    for shift in (1, 0.5, 100.25):
        torch.testing.assert_close(score(start + shift, stop + shift), score(start, stop), atol=1e-4, rtol=0)
    assert (score(start + 0.5, stop) - score(start, stop)).abs().max() > 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotation_keeps_lengths_and_position_zero(layout):
    """Catches a factor on cos and sin, and positions that start at 1 inside the encoding."""
    encoding, x = rope(layout=layout), random_heads(6)
    rotated = encoding.rotate(x, encoding.prepare(torch.arange(6)[None]))
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotated[:, :, 0], x[:, :, 0])
    assert (rotated[:, :, 1:] - x[:, :, 1:]).abs().amax(dim=(0, 1, 3)).min() > 0.1


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_layouts_differ_by_a_permutation_of_channels(factor):
    """Catches different frequencies in the two layouts: even channels first, then odd, turns one into the other."""
    rotated = int(factor * SIZE)
    order = [*range(0, rotated, 2), *range(1, rotated, 2), *range(rotated, SIZE)]
    query, key, positions = random_heads(6, seed=0), random_heads(6, seed=1), torch.tensor([[0, 1, 2.5, 4, 60, 61]])
    interleaved = rope(layout="interleaved", partial_rotary_factor=factor)(query, key, positions)
    half = rope(layout="half", partial_rotary_factor=factor)(query[..., order], key[..., order], positions)
    for first, second in zip(interleaved, half, strict=True):
        torch.testing.assert_close(first[..., order], second)
        assert (first - second).abs().max() > 0.1
    torch.testing.assert_close(interleaved[0] @ interleaved[1].mT, half[0] @ half[1].mT, atol=1e-5, rtol=1e-5)


def test_layouts_differ_in_a_model(tiny_model):
    """Catches a layout that is stored but not used: the same weights are another model."""
    tokens = torch.arange(1, 13)[None]
    first, second = (tiny_model("rope", settings={"layout": layout})(tokens).logits for layout in LAYOUTS)
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("ids", [torch.tensor([[FAR]]), torch.tensor([[float(FAR)]])], ids=["whole", "float"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_angles_are_exact_far_out(ids, dtype, autocast):
    """Catches frequencies, positions or angles in bfloat16 or float32, by ``model.to`` or by autocast.

    The error of the cosine at position 8191 is above 1 in bfloat16 and 3e-4 in float32.
    """
    encoding = rope().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        (turns,) = encoding.prepare(ids)
    angles = true_angles(FAR)
    assert turns.dtype == torch.complex64
    for table, exact in ((turns.real, angles.cos()), (turns.imag, angles.sin())):
        assert (table.flatten().double() - exact).abs().max() < 1e-6


@pytest.mark.parametrize("mode", ["autocast", "bfloat16"])
def test_layers_see_the_exact_tables(mode, tiny_model, monkeypatch):
    """Catches tables that are rounded between ``prepare`` and the attention layers."""
    model = tiny_model("rope").to(torch.bfloat16 if mode == "bfloat16" else torch.float32)
    cls, seen = type(model.roformer.position), []
    rotate = cls.rotate
    monkeypatch.setattr(cls, "rotate", lambda self, x, state: seen.append(state) or rotate(self, x, state))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast"):
        model(torch.arange(1, 5)[None], position_ids=torch.arange(4)[None] + FAR - 3)
    assert len(seen) == 2 * model.config.num_hidden_layers
    for (turns,) in seen:
        assert (turns.real[0, 0, -1].double() - true_angles(FAR, 8).cos()).abs().max() < 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64_stays_exact(layout):
    """Catches float64 queries that are rounded to float32: gradient checks and exact comparisons need them whole."""
    encoding = rope(layout=layout)
    x, state = random_heads(50).double(), encoding.prepare(torch.arange(50)[None])
    rotated = encoding.rotate(x, state)
    assert rotated.dtype == torch.float64
    lengths = rotated.unflatten(-1, (-1, 2) if layout == "interleaved" else (2, -1))
    expected = x.unflatten(-1, (-1, 2) if layout == "interleaved" else (2, -1))
    axis = -1 if layout == "interleaved" else -2
    sizes = (state[0] if len(state) == 1 else torch.complex(*state)).to(torch.complex128).abs()
    torch.testing.assert_close(lengths.norm(dim=axis), expected.norm(dim=axis) * sizes, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["rope", "xpos", "rope_yarn"])
def test_half_layout_has_real_numbers(name):
    """Catches complex numbers where channels are not in pairs: they are copied, and torch.compile cannot fuse them."""
    encoding = POSITION_ENCODINGS[name](SHAPE, layout="half")
    assert {each.dtype for each in encoding.prepare(torch.arange(5)[None])} == {torch.float32}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotation_of_bfloat16_rounds_once(layout):
    """Catches a rotation in bfloat16: its result must be the exact one, rounded once (half a unit in 2^-8)."""
    encoding = rope(layout=layout)
    state = encoding.prepare(torch.arange(50)[None] + FAR)
    x = random_heads(50).bfloat16()
    rotated, exact = encoding.rotate(x, state), encoding.rotate(x.float(), state)
    assert rotated.dtype == torch.bfloat16
    assert ((rotated.float() - exact).abs() <= 2**-8 * exact.abs() + 1e-6).all()


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ({"hidden_size": 12, "num_attention_heads": 4}, {}, "even number of them, got 3"),
        ({"hidden_size": 24, "num_attention_heads": 4}, {"partial_rotary_factor": 0.5}, "even number of them, got 3"),
        ({"hidden_size": 32, "num_attention_heads": 4}, {"partial_rotary_factor": 0.01}, "even number of them, got 0"),
        ({"hidden_size": 32}, {"partial_rotary_factor": 1.5}, r"partial_rotary_factor must lie in \(0, 1\], got 1.5"),
        (
            {"hidden_size": 32},
            {"partial_rotary_factor": -0.5},
            r"partial_rotary_factor must lie in \(0, 1\], got -0.5",
        ),
        ({"hidden_size": 32}, {"rope_theta": 1.0}, "rope_theta must be above 1, got 1.0"),
        ({"hidden_size": 32}, {"layout": "neox"}, r"unknown layout 'neox' \(available: interleaved, half\)"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(shape, settings, message):
    """Catches a late shape error, or a silently wrong rotation, where the settings cannot work."""
    with pytest.raises(UserError, match=message) as error:
        POSITION_ENCODINGS["rope"](ModelShape(**shape), **settings)
    assert "\n" not in str(error.value)


def test_a_share_that_is_no_number_is_refused():
    """Catches a traceback about converting nan."""
    with pytest.raises(UserError, match="partial_rotary_factor must lie in"):
        rope(partial_rotary_factor=float("nan"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotary_embedding_for_other_models(layout):
    """Catches an embedding for other code that is not rope, or drops a setting."""
    query, key, positions = random_heads(6, seed=0), random_heads(6, seed=1), torch.arange(6)[None]
    settings = {"rope_theta": 500.0, "layout": layout, "partial_rotary_factor": 0.5}
    given = RotaryEmbedding(head_dim=SIZE, **settings)(query, key, positions)
    for one, other in zip(given, rope(**settings)(query, key, positions), strict=True):
        assert torch.equal(one, other)
    plain = zip(RotaryEmbedding(SIZE)(query, key, positions), rope()(query, key, positions), strict=True)
    assert all(torch.equal(one, other) for one, other in plain)
