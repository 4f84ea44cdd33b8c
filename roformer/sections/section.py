"""The contract of a section: one measurement, from the records of many runs to what the page shows of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from roformer.registry import Registry
from roformer.report.blocks import Block, Tile
from roformer.results.comparison import Comparison
from roformer.results.records import Records

S = TypeVar("S")


@dataclass(frozen=True)
class Nothing:
    """The summary of a section that measures nothing."""


class Section(ABC, Generic[S]):
    """One measurement, or what the page shows without any.

    ``summarize`` makes a frozen dataclass from the records of all runs of a family; the other methods only read that,
    and the summaries of other sections where they build on them. A folder of ``roformer/sections`` holds a section in
    ``__init__.py``, which imports no torch, and in ``measure.py`` the evaluator of single runs, where it needs one.

    Attributes:
        version: of the summary's fields in ``comparison.json``; rises with every change of them.
        summary: class of the summary.
        family: of the tasks whose records it summarizes; None for a section that needs no runs.
        heading: under which the page shows it; sections of the same heading that follow each other share it.
        place: on the page, rising from top to bottom.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[type[Any]] = Nothing
    family: ClassVar[str | None] = None
    heading: ClassVar[str]
    place: ClassVar[int]

    def summarize(self, records: Records) -> S | None:
        """Returns the summary; None where nothing was measured."""
        return None

    def ranking(self, summary: S) -> Mapping[str, float] | None:
        """Returns label -> number by which the encodings of the family are ordered, the lowest first; None in all
        sections but one of a family."""
        return None

    @abstractmethod
    def render(self, summary: S, comparison: Comparison) -> Iterator[Block]:
        """Yields tables, figures and prose in the order of the page; numbers are put in front of their titles."""

    def sentences(self, summary: S, comparison: Comparison) -> Sequence[str]:
        """Returns what the page says first: the very first sentence of all sections is its headline."""
        return ()

    def tiles(self, summary: S, comparison: Comparison) -> Sequence[Tile]:
        """Returns key figures for the head of the page."""
        return ()

    def tuning(self, summary: S, comparison: Comparison) -> str | None:
        """Says which hyperparameters were chosen for each encoding, and how; None where this section knows none."""
        return None

    def limitations(self, summary: S, comparison: Comparison) -> Sequence[str]:
        """Returns what the numbers cannot show."""
        return ()


SECTIONS: Registry[Section[Any]] = Registry("section")


def in_page_order() -> list[tuple[str, Section[Any]]]:
    """Returns name and section of all there are, from top to bottom of the page."""
    return sorted(((name, SECTIONS[name]()) for name in SECTIONS), key=lambda item: (item[1].place, item[0]))


def summary_kinds() -> dict[str, tuple[type[Any], int]]:
    """Returns name -> class and version of the summary of every section, by which ``comparison.json`` is read."""
    return {name: (section.summary, section.version) for name, section in in_page_order()}
