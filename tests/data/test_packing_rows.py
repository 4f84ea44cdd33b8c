"""Packing: nothing lost, nothing over the limit, hardly any padding."""

import time

import numpy as np
import pytest

from roformer.data.packing import FRAME_TOKENS, RowPlan, plan_rows
from roformer.errors import UserError


def offsets_of(lengths: np.ndarray | list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def sizes_of(plan: RowPlan, row: int) -> np.ndarray:
    return plan.row(row)[:, 1] - plan.row(row)[:, 0] + FRAME_TOKENS


def fill_of(plan: RowPlan, sequence_length: int) -> float:
    """The share of all places that hold a token; 1 means no padding."""
    return sum(sizes_of(plan, row).sum() for row in range(len(plan))) / (len(plan) * sequence_length)


@pytest.mark.parametrize("sequence_length", [3, 4, 17, 128, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_every_token_stands_in_one_row_and_no_row_overflows(sequence_length: int, seed: int) -> None:
    """Catches lost or doubled tokens, pieces across two documents, and rows over the limit."""
    lengths = np.random.default_rng(seed).integers(0, 300, size=200)
    offsets = offsets_of(lengths)
    plan = plan_rows(offsets, sequence_length=sequence_length)
    spans = plan.spans[np.argsort(plan.spans[:, 0])]
    covered = np.concatenate([np.arange(start, stop) for start, stop in spans])
    np.testing.assert_array_equal(covered, np.arange(offsets[-1]))
    document = np.repeat(np.arange(len(lengths)), lengths)
    assert all(document[start] == document[stop - 1] for start, stop in spans)
    for row in range(len(plan)):
        sizes = sizes_of(plan, row)
        assert 0 < sizes.sum() <= sequence_length
        assert (np.diff(sizes) <= 0).all()  # longest first
    assert plan.row_offsets[-1] == len(plan.spans)


def test_a_document_is_cut_only_where_the_length_needs_it() -> None:
    """Catches documents cut to fill a gap."""
    plan = plan_rows(offsets_of([8, 5, 17, 0, 1]), sequence_length=10)
    assert sorted((plan.spans[:, 1] - plan.spans[:, 0]).tolist()) == [1, 1, 5, 8, 8, 8]


def test_the_best_fitting_row_is_taken() -> None:
    """Catches first-fit or next-fit, which waste places: 7+3 and 6+4, not 7+... and 6+3."""
    plan = plan_rows(offsets_of([3 - 2 + 1, 4, 5, 1]), sequence_length=10)  # sizes 4, 6, 7, 3
    assert sorted(sizes_of(plan, row).tolist() for row in range(len(plan))) == [[6, 4], [7, 3]]


def test_rows_of_short_documents_are_nearly_full() -> None:
    """Catches a packer that falls back to one document a row."""
    lengths = np.random.default_rng(0).integers(1, 200, size=3000)
    plan = plan_rows(offsets_of(lengths), sequence_length=512)
    assert fill_of(plan, 512) > 0.99


def test_the_plan_is_the_same_every_time() -> None:
    """Catches an order that depends on hashing or on an unstable sort."""
    lengths = np.random.default_rng(0).integers(1, 50, size=2000)
    first, again = (plan_rows(offsets_of(lengths), sequence_length=64) for _ in range(2))
    np.testing.assert_array_equal(first.spans, again.spans)
    np.testing.assert_array_equal(first.row_offsets, again.row_offsets)


def test_no_documents_give_no_rows() -> None:
    """Catches an empty row, or an error."""
    for lengths in ([], [0, 0]):
        plan = plan_rows(offsets_of(lengths), sequence_length=8)
        assert len(plan) == 0


def test_many_pieces_take_linear_time() -> None:
    """Catches a search over all open rows: minutes for 200,000 pieces in the place of a fraction of a second."""
    lengths = np.random.default_rng(0).integers(1, 400, size=200_000)
    start = time.perf_counter()
    plan = plan_rows(offsets_of(lengths), sequence_length=2048)
    assert time.perf_counter() - start < 10  # seconds
    assert fill_of(plan, 2048) > 0.99


@pytest.mark.parametrize("sequence_length", [-1, 0, 2])
def test_a_length_without_room_is_refused(sequence_length: int) -> None:
    """Catches an endless cut into pieces of nothing."""
    with pytest.raises(UserError, match=r"sequence length"):
        plan_rows(offsets_of([3]), sequence_length=sequence_length)
