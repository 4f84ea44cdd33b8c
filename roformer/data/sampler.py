"""Which rows a batch holds. In training it is a function of seed and step, so that resuming needs no state."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def batch_rows(seed: int, step: int, *, batch_size: int, rows: int) -> NDArray[np.int64]:
    """Returns the (batch_size,) row numbers of batch ``step``, from 0; every epoch visits every row once.

    Epochs follow each other without a gap, so that a batch may hold the end of one and the start of the next.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_order(seed, place // rows, rows)[place % rows] for place in places.tolist()], dtype=np.int64)


def batches_by_length(lengths: NDArray[np.int64], batch_tokens: int, *, padded: bool = False) -> list[list[int]]:
    """Groups documents of like length into batches of at most ``batch_tokens`` tokens (or one long document), where
    they are ``padded`` with their padding."""
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
