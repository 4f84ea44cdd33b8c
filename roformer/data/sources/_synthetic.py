"""Generated documents whose label depends on the order of their words; every word is one token."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

import numpy as np

from roformer.data.cache import content_key
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sources._base import Document, Source
from roformer.errors import UserError

LabeledWords: TypeAlias = tuple[list[str], str]
"""Words and label of a document."""

FILLERS = tuple(f"word{number}" for number in range(64))
"""Words without a meaning."""


class SyntheticSource(Source):
    """Generates each document from its index and the seed alone.

    Args:
        length: maximum number of words in a document.
        documents: number of documents.
        seed: seed of all random draws.

    Raises:
        UserError: if a number is out of range.
    """

    cache_version: ClassVar[int] = 1
    """Raise it when the same settings would yield other documents."""

    cell: ClassVar[str | None] = None
    """Meaning of ``example``'s argument ``place``, which labels the axis of a heat map; None if it has none."""

    baseline_name: ClassVar[str | None] = None
    """Description of ``baseline_label``; None if the source has none."""

    shortest: ClassVar[int]
    """Minimum of ``length``, in words."""

    def __init__(self, *, length: int, documents: int, seed: int) -> None:
        if length < self.shortest or documents < 1 or seed < 0:
            raise UserError(
                f"data={self._name} needs length >= {self.shortest}, documents >= 1 and seed >= 0, got {length}, "
                f"{documents} and {seed}"
            )
        self.length, self.count, self.seed = length, documents, seed  # their names are part of the fingerprint

    @classmethod
    def check(cls, data: dict[str, Any], task: dict[str, Any]) -> None:
        """Refuses to truncate documents, since the answer may lie in the part that is cut off."""
        needed = data["length"] + FRAME_TOKENS
        if task.get("max_length", needed) < needed:
            raise UserError(
                f"task.max_length={task['max_length']} cuts documents of data.length={data['length']} words, and with "
                f"them the answer; it needs {needed}"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__.removesuffix("Source").lower()

    def fingerprint(self) -> str:
        settings = sorted((key, value) for key, value in vars(self).items() if not key.startswith("_"))
        return content_key(self._name, self.cache_version, settings)

    def documents(self) -> Iterator[Document]:
        for number in range(self.count):
            words, label = self.example(np.random.default_rng([self.seed, number]), self.length)
            yield Document(" ".join(words), label=label)

    @abstractmethod
    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> LabeledWords:
        """Returns the words of a document and its label.

        Args:
            rng: source of all random draws.
            length: maximum number of words; may exceed the length of ``documents``.
            place: the quantity named by ``cell``, as a fraction in [0, 1) of its maximum; drawn if None.
        """

    def baseline_label(self, words: list[str]) -> str:
        """Returns the label that a reader who ignores word order would choose."""
        raise NotImplementedError
