"""Batches made in the background."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(make: Callable[[int], T], start: int, stop: int) -> Generator[T, None, None]:
    """Yields ``make(step)`` for each step; each is made while the caller works on the one before it."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, start)
        for step in range(start, stop):
            batch = ahead.result()
            if step + 1 < stop:
                ahead = pool.submit(make, step + 1)
            yield batch
