"""Sinusoidal positions against eq. 4, and the table of learned positions."""

import numpy as np
import pytest
import torch

from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape

SIZE = 12


def equation_4(positions, size, base=10_000.0):
    """p_(k, 2t) = sin(k / base^(2t/d)) and p_(k, 2t+1) = cos(k / base^(2t/d)), one number at a time."""
    table = np.empty((len(positions), size))
    for row, k in enumerate(positions):
        for t in range(size // 2):
            table[row, 2 * t] = np.sin(k / base ** (2 * t / size))
            table[row, 2 * t + 1] = np.cos(k / base ** (2 * t / size))
    return table


def waves(encoding, positions, dtype=torch.float32):
    """What the encoding adds to embeddings of zero: (L, E)."""
    return encoding.embed(torch.zeros(1, len(positions), SIZE, dtype=dtype), torch.tensor([positions]))[0]


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 511, 8191], [0.5, 2.25, 1000.125]], ids=["whole", "fractional"])
@pytest.mark.parametrize("base", [100.0, 10_000.0])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_sinusoidal_is_equation_4(positions, base, scale):
    """Catches sine and cosine in halves instead of in turn, wrong wavelengths, and angles that are not exact."""
    encoding = POSITION_ENCODINGS["sinusoidal"](ModelShape(hidden_size=SIZE), base=base, scale=scale)
    expected = scale * equation_4(positions, SIZE, base)
    np.testing.assert_allclose(waves(encoding, positions).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["autocast", "bfloat16"])
def test_sinusoidal_angles_are_exact_in_low_precision(mode):
    """Catches angles in bfloat16, whose error at position 8191 is above 1: only the result may be rounded."""
    encoding = POSITION_ENCODINGS["sinusoidal"](ModelShape(hidden_size=SIZE), scale=1.0).to(torch.bfloat16)
    dtype, tolerance = (torch.float32, 1e-6) if mode == "autocast" else (torch.bfloat16, 2**-8)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast"):
        given = waves(encoding, [8191], dtype)
    assert given.dtype == dtype
    np.testing.assert_allclose(given.float().numpy(), equation_4([8191], SIZE), atol=tolerance)


def test_sinusoidal_is_added_at_the_width_of_the_embeddings():
    """Catches waves of the encoder's width where the embeddings are narrower, and a replaced instead of a sum."""
    encoding = POSITION_ENCODINGS["sinusoidal"](ModelShape(hidden_size=2 * SIZE, embedding_size=SIZE), scale=1.0)
    start = torch.randn(1, 3, SIZE, generator=torch.Generator().manual_seed(0))
    added = encoding.embed(start, torch.arange(3)[None]) - start
    np.testing.assert_allclose(added[0].numpy(), equation_4(range(3), SIZE), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [(7, {}, "even embedding size, got 7"), (8, {"base": 1.0}, "base must be above 1, got 1.0")],
)
def test_impossible_sinusoidal_settings_are_refused(size, settings, message):
    """Catches a shape error in the middle of the forward pass."""
    with pytest.raises(UserError, match=message):
        POSITION_ENCODINGS["sinusoidal"](ModelShape(hidden_size=size), **settings)


def test_learned_adds_the_rows_of_its_table():
    """Catches rows that are off by one, and a table of the wrong width or length."""
    encoding = POSITION_ENCODINGS["learned"](
        ModelShape(hidden_size=24, embedding_size=SIZE, max_position_embeddings=9)
    )
    assert encoding.table.weight.shape == (9, SIZE)
    start = torch.randn(1, 3, SIZE, generator=torch.Generator().manual_seed(0))
    moved = encoding.embed(start, torch.tensor([[8, 0, 3]]))
    torch.testing.assert_close(moved - start, encoding.table.weight[[8, 0, 3]][None])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[0, 9]], r"position 9 is beyond the table .* raise max_position_embeddings \(now 9\)"),
        ([[0.0, 1.5]], "learned positions are whole numbers"),
    ],
)
def test_learned_refuses_positions_it_has_no_row_for(positions, message):
    """Catches an index error without a remedy, and fractional positions that are cut to whole ones."""
    encoding = POSITION_ENCODINGS["learned"](ModelShape(hidden_size=SIZE, max_position_embeddings=9))
    with pytest.raises(UserError, match=message):
        encoding.embed(torch.zeros(1, 2, SIZE), torch.tensor(positions))


@pytest.mark.parametrize(("name", "length"), [("rope", 3000), ("sinusoidal", 3000), ("none", 3000)])
def test_length_is_not_limited_without_a_table(name, length, tiny_model):
    """Catches positions that are clamped or refused beyond max_position_embeddings, as in stock RoFormer."""
    tokens = torch.randint(1, 60, (1, length), generator=torch.Generator().manual_seed(0))
    short, long = (tiny_model(name, max_position_embeddings=rows) for rows in (512, 4096))
    with torch.no_grad():
        assert torch.equal(short(tokens).logits, long(tokens).logits)
        last = short(tokens[:, -9:], position_ids=torch.arange(length - 9, length)[None]).logits
        first = short(tokens[:, -9:], position_ids=torch.full((1, 9), 511)).logits
    assert last.isfinite().all()
    assert name == "none" or (last - first).abs().max() > 0.01


def test_length_beyond_the_table_of_learned_positions_is_refused(tiny_model):
    """Catches a model that fails with an index error after the table's end."""
    model = tiny_model("learned")
    assert model(torch.ones(1, 64, dtype=torch.long)).logits.isfinite().all()
    with pytest.raises(UserError, match="position 64 is beyond the table"):
        model(torch.ones(1, 65, dtype=torch.long))
