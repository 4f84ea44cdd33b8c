"""The contract of a data source: a fingerprint, and documents in a fixed order."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from roformer.registry import Registry
from roformer.renamed import DATA_SOURCES

SPLITS = ("train", "validation", "test")


class Span(NamedTuple):
    """A labeled part of a text: its characters from ``start`` to before ``end``."""

    start: int
    end: int
    tag: str


@dataclass(frozen=True)
class Document:
    """One document of a corpus; a document is never divided between splits.

    Attributes:
        text: the whole text.
        label: the class, for labeled data.
        split: one of ``SPLITS`` if the source assigns the split; None if a hash of the text decides.
        extra_texts: additional texts of the document: the second of a pair, or the candidates of a triplet.
        spans: labeled parts of the last text, such as words with their tags, or answers; None for other data.
        group: documents of one group get the same split, such as the questions about one text; None if the texts
            decide.
    """

    text: str
    label: str | None = None
    split: str | None = None
    extra_texts: tuple[str, ...] = ()
    spans: tuple[Span, ...] | None = None
    group: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text, *self.extra_texts)


class Source(ABC):
    """A corpus. Two sources with equal fingerprints yield the same documents in the same order."""

    is_benchmark: ClassVar[bool] = False
    """Whether models get one score on each of its data sets, as on the tasks of GLUE."""
    text_languages: ClassVar[tuple[str, ...]] = ()
    """ISO codes of the languages of its texts, where every corpus of this kind has the same."""

    def unread_files(self) -> Counter[str]:
        """Counts the files next to those of the corpus that look like documents, too, by kind: ".jsonl.gz files"."""
        return Counter()

    def doubts(self) -> list[str]:
        """Returns what may be wrong about splits that file names assign."""
        return []

    @cached_property
    def skipped(self) -> Counter[str]:
        """What ``documents`` has skipped so far, such as "rows without text" -> how often."""
        return Counter()

    @classmethod  # noqa: B027  # most fit every task
    def check(cls, data: dict[str, Any], task: dict[str, Any]) -> None:
        """Raises ``UserError`` if these data settings do not fit the settings of a task."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the documents without yielding them; part of the key of every cache."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yields every document once, always in the same order.

        Raises:
            UserError: if a file, a column or the whole corpus is missing or empty.
        """

    def provided_splits(self) -> frozenset[str]:
        """Returns the splits that the source assigns itself; no other document is drawn into those."""
        return frozenset()


SOURCES: Registry[Source] = Registry("data source", old_names=DATA_SOURCES)
