"""Chooses the rows of each batch. In training they depend on seed and step only, so resuming needs no state."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def batch_rows(seed: int, step: int, *, batch_size: int, rows: int) -> NDArray[np.int64]:
    """Returns the (batch_size,) row numbers of batch ``step`` (from 0); every epoch visits every row once.

    A batch may contain the end of one epoch and the start of the next.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_order(seed, place // rows, rows)[place % rows] for place in places.tolist()], dtype=np.int64)


def batches_by_length(lengths: NDArray[np.int64], batch_tokens: int, *, padded: bool = False) -> list[list[int]]:
    """Groups documents of similar length into batches, longest first.

    Args:
        lengths: (documents,) numbers of tokens.
        batch_tokens: maximum number of tokens in a batch; a single longer document is a batch of its own.
        padded: whether padding to the longest document of the batch counts.

    Returns:
        Indices of the documents in each batch.
    """
    batches: list[list[int]] = []
    total = 0
    for index in np.argsort(-lengths, kind="stable").tolist():
        size = lengths[batches[-1][0]] if batches and padded else lengths[index]  # the first is the longest
        if not batches or total + size > batch_tokens:
            batches.append([])
            total, size = 0, lengths[index]
        batches[-1].append(index)
        total += size
    return batches
