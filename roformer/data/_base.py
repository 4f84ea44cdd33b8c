"""What a corpus is: a fingerprint, and documents in a fixed order. One class per kind of source."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from roformer.registry import Registry

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """One document of a corpus; what is never cut across two splits.

    Attributes:
        text: the whole text.
        label: the class, for classification data.
        split: one of ``SPLITS`` where the source itself says which; None where the hash of the text decides.
        further: more texts that belong to it: the second of a pair, the candidates of a triplet.
    """

    text: str
    label: str | None = None
    split: str | None = None
    further: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text, *self.further)


class Source(ABC):
    """A corpus. Two sources with the same fingerprint yield the same documents in the same order.

    Attributes:
        is_benchmark: whether it is one of several datasets that models are judged by with one number each.
    """

    is_benchmark: ClassVar[bool] = False

    @abstractmethod
    def fingerprint(self) -> str:
        """Names the content (and what was done to it) without reading all of it; the key of every cache."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yields every document once, always in the same order.

        Raises:
            UserError: if a file, a column or the whole corpus is missing or empty.
        """

    def provided_splits(self) -> frozenset[str]:
        """The splits that the source itself gives; those are used as they are, and never carved out of "train"."""
        return frozenset()


SOURCES: Registry[Source] = Registry("data source")
