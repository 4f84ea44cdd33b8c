"""RoPE in somebody's own attention: caches, layouts, any number of axes, and what is refused. By hand: one pair of
channels of one token at a time."""

import itertools
import math

import pytest
import torch

from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape, RotaryEmbedding

BATCH, HEADS, LENGTH, SIZE = 2, 3, 7, 24
LAYOUTS = ["interleaved", "half"]
BASE = 10_000.0
PLACES = torch.randint(90, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def query_and_key():
    """(B, H, L, D) queries, and keys of a single head."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, BATCH, HEADS, LENGTH, SIZE, generator=generator)
    return query, key[:, :1]


def by_hand(x, positions, layout="interleaved", rotary_size=SIZE):
    """Rotates (B, H, L, D) by the coordinates (B or 1, L, n) of its tokens."""
    rotated, axes = x.clone(), positions.shape[-1]
    pairs = rotary_size // 2
    for batch, token, pair in itertools.product(range(x.shape[0]), range(x.shape[2]), range(pairs)):
        axis, number = divmod(pair, pairs // axes)
        place = positions.expand(x.shape[0], -1, -1)[batch, token, axis].item()
        angle = place * BASE ** (-2 * number / (rotary_size // axes))
        first, second = (2 * pair, 2 * pair + 1) if layout == "interleaved" else (pair, pair + pairs)
        a, b = x[batch, :, token, first], x[batch, :, token, second]
        rotated[batch, :, token, first] = a * math.cos(angle) - b * math.sin(angle)
        rotated[batch, :, token, second] = a * math.sin(angle) + b * math.cos(angle)
    return rotated


def assert_same(given, expected):
    for one, other in zip(given, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("given", "positions"),
    [
        ({}, torch.arange(LENGTH)[None]),
        ({"offset": 100}, torch.arange(LENGTH)[None] + 100),
        ({"position_ids": torch.arange(LENGTH) * 2.5}, torch.arange(LENGTH)[None] * 2.5),
        ({"position_ids": PLACES}, PLACES),
    ],
    ids=["none", "offset", "one text", "one text per row"],
)
def test_positions_may_be_given_in_any_way(query_and_key, layout, given, positions):
    """Catches positions of one text that are an IndexError, and an offset that the caller has to add."""
    expected = [by_hand(x, positions[..., None], layout) for x in query_and_key]
    assert_same(RotaryEmbedding(SIZE, layout=layout)(*query_and_key, **given), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("queries", [1, 3, LENGTH])
def test_queries_are_the_last_tokens(query_and_key, layout, queries):
    """Catches one query that is broadcast to the positions of all cached keys, or that gets the first position."""
    query, key = query_and_key
    rope = RotaryEmbedding(SIZE, layout=layout)
    all_queries, all_keys = rope(query, key, offset=5)
    assert_same(rope(query[:, :, -queries:], key, offset=5), (all_queries[:, :, -queries:], all_keys))


def test_a_cache_may_hold_rotated_keys(query_and_key):
    """Catches an offset that counts from the end, or is used by keys or queries only."""
    query, key = query_and_key
    rope = RotaryEmbedding(SIZE)
    token_by_token = [rope(query[:, :, [t]], key[:, :, [t]], offset=t) for t in range(LENGTH)]
    assert_same((torch.cat(parts, dim=2) for parts in zip(*token_by_token, strict=True)), rope(query, key))


@pytest.mark.parametrize("name", ["rope_yarn", "xpos"])
def test_every_rotary_encoding_takes_cached_keys(query_and_key, name):
    """Catches a cache that only plain RoPE knows, and keys of xPos that are rotated as queries."""
    query, key = query_and_key
    encoding = POSITION_ENCODINGS.build({"name": name}, ModelShape(hidden_size=SIZE))
    all_queries, all_keys = encoding(query, key)
    assert_same(encoding(query[:, :, -2:], key), (all_queries[:, :, -2:], all_keys))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("queries", [1, LENGTH])
def test_length_may_come_before_heads(query_and_key, layout, queries):
    """Catches heads that are taken for tokens, as in FlashAttention's order of dimensions."""
    query, key = query_and_key
    rope, query = RotaryEmbedding(SIZE, layout=layout), query[:, :, -queries:]
    given = rope(query.transpose(1, 2), key.transpose(1, 2), PLACES, sequence_dim=1)
    assert_same((x.transpose(1, 2) for x in given), rope(query, key, PLACES))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("axes", "factor"), [(2, 1.0), (2, 0.5), (3, 1.0)])
@pytest.mark.parametrize("rows", [0, 1, BATCH], ids=["one text", "batch of 1", "one per row"])
def test_each_axis_turns_its_share_of_the_pairs(query_and_key, layout, axes, factor, rows):
    """Catches axes that share channels, or have the frequencies of the whole head."""
    positions = torch.randint(50, (max(rows, 1), LENGTH, axes), generator=torch.Generator().manual_seed(1))
    rope = RotaryEmbedding(SIZE, layout=layout, partial_rotary_factor=factor, num_axes=axes)
    expected = [by_hand(x, positions, layout, int(SIZE * factor)) for x in query_and_key]
    assert_same(rope(*query_and_key, positions if rows else positions[0]), expected)


def test_rows_and_columns_are_two_encodings_of_half_the_channels(query_and_key):
    """Catches a second axis that repeats the first."""
    places = torch.cartesian_prod(torch.arange(2), torch.arange(4))[:LENGTH]
    half = RotaryEmbedding(SIZE // 2)
    halves = [x.chunk(2, dim=-1) for x in query_and_key]
    by_axis = [half(query, key, places[:, axis]) for axis, (query, key) in enumerate(zip(*halves, strict=True))]
    expected = (torch.cat(parts, dim=-1) for parts in zip(*by_axis, strict=True))
    assert_same(RotaryEmbedding(SIZE, num_axes=2)(*query_and_key, places), expected)


@pytest.mark.parametrize(
    ("axes", "shapes", "given", "message"),
    [
        (1, [(2, 7, 24), (2, 7, 24)], {}, r"must be \(batch, heads, length, 24\).*got \(2, 7, 24\)"),
        (1, [(2, 3, 7, 24), (2, 7, 24)], {}, r"got \(2, 7, 24\)"),
        (1, [(2, 3, 7, 32), (2, 3, 7, 32)], {}, r"length, 24\), or with sequence_dim=1 .*got \(2, 3, 7, 32\)"),
        (1, [(2, 3, 7, 24), (2, 3, 5, 24)], {}, "7 queries and 5 keys; give all keys"),
        (1, [(2, 7, 3, 24), (2, 5, 3, 24)], {"sequence_dim": 1}, "7 queries and 5 keys"),
        (1, [(2, 3, 1, 24), (2, 3, 7, 24)], {"position_ids": torch.tensor([6])}, r"\(7,\) or \(2, 7\), got \(1,\)"),
        (1, [(2, 3, 7, 24)] * 2, {"position_ids": torch.zeros(3, 7)}, r"\(7,\) or \(2, 7\), got \(3, 7\)"),
        (1, [(2, 3, 7, 24)] * 2, {"position_ids": torch.zeros(1, 7, 2)}, r"got \(1, 7, 2\)"),
        (1, [(2, 3, 7, 24)] * 2, {"position_ids": torch.arange(7), "offset": 3}, "position_ids or offset=3, not both"),
        (2, [(2, 3, 7, 24)] * 2, {}, r"num_axes=2 give position_ids of shape \(length, 2\), got None"),
        (2, [(2, 3, 7, 24)] * 2, {"position_ids": torch.arange(7)}, r"\(length, 2\), got \(7,\)"),
        (2, [(2, 3, 7, 24)] * 2, {"position_ids": torch.zeros(6, 2)}, r"got \(6,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_one_line(axes, shapes, given, message):
    """Catches a result of another shape, in silence, and an IndexError from within."""
    query, key = map(torch.zeros, shapes)
    with pytest.raises(UserError, match=message) as error:
        RotaryEmbedding(24, num_axes=axes)(query, key, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("size", "axes"), [(24, 5), (24, 0), (20, 4)])
def test_axes_need_whole_pairs(size, axes):
    """Catches channels that no axis rotates."""
    with pytest.raises(UserError, match=f"num_axes={axes} cannot share {size} rotated channels in pairs"):
        RotaryEmbedding(size, num_axes=axes)
