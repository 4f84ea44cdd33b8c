"""Packs documents into rows of bounded length; documents are cut only where they are longer than a row.

A segment is a run of tokens of one document between one [CLS] and one [SEP]; a row is one or more segments whose
tokens, special tokens included, fit in ``sequence_length``.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roformer.errors import UserError

FRAME_TOKENS = 2
"""[CLS] and [SEP] around each segment."""


@dataclass(frozen=True)
class RowPlan:
    """The tokens of each row.

    Attributes:
        spans: (segments, 2) int64, start and exclusive end of each segment in the split's tokens.
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
    """Cuts documents into segments of at most ``sequence_length - 2`` tokens and packs them best-fit decreasing.

    The same input gives the same plan. An empty document has no segment.

    Args:
        offsets: (documents + 1,) int64; document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        sequence_length: maximum number of tokens in a row, including [CLS] and [SEP] of each segment; at least 3.

    Raises:
        UserError: if ``sequence_length`` leaves no room for a token.
    """
    limit = sequence_length - FRAME_TOKENS
    if limit < 1:
        raise UserError(f"sequence length {sequence_length} leaves no room between [CLS] and [SEP]; use 3 or more")
    spans = cut_documents(offsets, limit)
    spans = spans[np.argsort(spans[:, 0] - spans[:, 1], kind="stable")]  # longest first; ties in corpus order
    rows = _best_fit(spans[:, 1] - spans[:, 0] + FRAME_TOKENS, sequence_length)
    order = np.argsort(rows, kind="stable")
    row_offsets = np.concatenate(([0], np.cumsum(np.bincount(rows)))).astype(np.int64)
    return RowPlan(spans[order], row_offsets)


def cut_documents(offsets: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Returns the (segments, 2) spans of at most ``limit`` tokens, in corpus order; an empty document has none.

    Args:
        offsets: (documents + 1,); document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        limit: at least 1.
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    counts = -(-np.diff(offsets) // limit)
    first_segment = np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(offsets[:-1], counts) + (np.arange(counts.sum()) - first_segment) * limit
    stops = np.minimum(starts + limit, np.repeat(offsets[1:], counts))
    return np.stack((starts, stops), axis=1)


def _best_fit(sizes: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Assigns each size (descending) to the row with the least sufficient free space; returns (segments,) row numbers.

    Rows are indexed by their free space, which has at most ``capacity`` values, so each step is one bisection.
    """
    rows = np.empty(len(sizes), dtype=np.int64)
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # the keys of by_room, sorted
    used = 0
    for segment, size in enumerate(sizes.tolist()):
        place = bisect_left(rooms, size)
        if place < len(rooms):
            room = rooms[place]
            row = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[place]
        else:
            room, row = capacity, used
            used += 1
        rows[segment] = row
        left = room - size
        if left > FRAME_TOKENS:
            if left not in by_room:
                by_room[left] = []
                insort(rooms, left)
            by_room[left].append(row)
    return rows
