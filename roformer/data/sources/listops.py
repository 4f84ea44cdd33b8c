"""Nested list operations.

Source: Nangia and Bowman 2018, arXiv:1804.06028; reimplemented, with each bracket as a word.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from roformer.data.sources._base import SOURCES
from roformer.data.sources._synthetic import LabeledWords, SyntheticSource
from roformer.errors import UserError


@SOURCES.register("listops")
class ListopsSource(SyntheticSource):
    """What is [ MAX 4 [ MIN 2 7 ] 0 ]? Maximum, minimum, median (the lower of two) and sum modulo 10.

    Target lengths are drawn between ``length / 4`` and ``length``, and documents come close to them: three of four
    arguments are nested operations wherever one fits. Longer documents nest deeper.

    Args:
        length, documents, seed: as in ``SyntheticSource``.
        arguments: maximum number of arguments of an operation.

    Raises:
        UserError: if a number is out of range.
    """

    cache_version = 2
    shortest = 20
    operations: ClassVar[dict[str, Callable[[list[int]], int]]] = {
        "MAX": max,
        "MIN": min,
        "MED": lambda numbers: sorted(numbers)[(len(numbers) - 1) // 2],
        "SUM": lambda numbers: sum(numbers) % 10,
    }

    def __init__(self, *, length: int, documents: int, seed: int, arguments: int) -> None:
        super().__init__(length=length, documents=documents, seed=seed)
        if arguments < 2:
            raise UserError(f"data=listops needs arguments >= 2, got {arguments}")
        self.arguments = arguments

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> LabeledWords:
        words, value = self._expression(rng, int(rng.integers(length // 4, length + 1)))
        return words, str(value)

    def _expression(self, rng: np.random.Generator, room: int) -> tuple[list[str], int]:
        """Returns the words of an operation, between 5 and ``room`` of them, and its value."""
        name = list(self.operations)[rng.integers(len(self.operations))]
        count = int(rng.integers(2, min(self.arguments, room - 3) + 1))
        words, values = ["[", name], []
        rest = room - 3
        for left in range(count, 0, -1):
            share = rest // left  # an argument that needs less leaves the rest to the following ones
            if share >= 5 and rng.random() < 0.75:
                inner, value = self._expression(rng, share)
            else:
                value = int(rng.integers(10))
                inner = [str(value)]
            words += inner
            rest -= len(inner)
            values.append(value)
        return [*words, "]"], self.operations[name](values)
