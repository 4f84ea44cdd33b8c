"""Packs documents into rows of equal length, with next to no padding and without cutting more than the length needs.

Shapes: a piece is a run of tokens of one document that goes between one [CLS] and one [SEP]; a row is one or more
pieces whose tokens, special ones included, fit in ``sequence_length``.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roformer.errors import UserError

SPECIAL_TOKENS = 2  # [CLS] ... [SEP] around each piece


@dataclass(frozen=True)
class RowPlan:
    """Which tokens go into which row.

    Attributes:
        spans: (pieces, 2) int64, first token and the one after the last, as indices into the split's tokens.
        row_offsets: (rows + 1,) int64; row i holds ``spans[row_offsets[i]:row_offsets[i + 1]]``, longest first.
    """

    spans: NDArray[np.int64]
    row_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row_offsets) - 1

    def row(self, index: int) -> NDArray[np.int64]:
        """Returns the (k, 2) spans of row ``index``."""
        return self.spans[self.row_offsets[index] : self.row_offsets[index + 1]]


def plan_rows(offsets: NDArray[np.int64], *, sequence_length: int) -> RowPlan:
    """Cuts documents at ``sequence_length - 2`` tokens, and packs the pieces best-fit decreasing.

    The same input gives the same plan. An empty document gives no piece.

    Args:
        offsets: (documents + 1,) int64; document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        sequence_length: tokens in a row, [CLS] and [SEP] of each piece included; at least 3.

    Raises:
        UserError: if ``sequence_length`` leaves no room for a token.
    """
    limit = sequence_length - SPECIAL_TOKENS
    if limit < 1:
        raise UserError(f"sequence length {sequence_length} leaves no room beside [CLS] and [SEP]; take 3 or more")
    spans = _cut(np.asarray(offsets, dtype=np.int64), limit)
    spans = spans[np.argsort(spans[:, 0] - spans[:, 1], kind="stable")]  # longest first; equal ones in corpus order
    rows = _best_fit(spans[:, 1] - spans[:, 0] + SPECIAL_TOKENS, sequence_length)
    order = np.argsort(rows, kind="stable")
    row_offsets = np.concatenate(([0], np.cumsum(np.bincount(rows)))).astype(np.int64)
    return RowPlan(spans[order], row_offsets)


def _cut(offsets: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Returns the (pieces, 2) spans of at most ``limit`` tokens, in corpus order."""
    counts = -(-np.diff(offsets) // limit)
    first_piece = np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(offsets[:-1], counts) + (np.arange(counts.sum()) - first_piece) * limit
    stops = np.minimum(starts + limit, np.repeat(offsets[1:], counts))
    return np.stack((starts, stops), axis=1)


def _best_fit(sizes: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Assigns each size (descending) to the row with the least room that still holds it; returns (pieces,) rows.

    Rows are kept by the room left in them, of which there are at most ``capacity`` values, so a step costs a
    bisection and not a walk over the rows.
    """
    rows = np.empty(len(sizes), dtype=np.int64)
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # the keys of by_room, sorted
    used = 0
    for piece, size in enumerate(sizes.tolist()):
        place = bisect_left(rooms, size)
        if place < len(rooms):
            room = rooms[place]
            row = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[place]
        else:
            room, row = capacity, used
            used += 1
        rows[piece] = row
        left = room - size
        if left > SPECIAL_TOKENS:
            if left not in by_room:
                by_room[left] = []
                insort(rooms, left)
            by_room[left].append(row)
    return rows
