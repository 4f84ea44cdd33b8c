"""What a page says besides tables and figures."""

from dataclasses import dataclass
from typing import TypeAlias

from roformer.report.figure import Figure
from roformer.report.table import Table


@dataclass(frozen=True)
class Prose:
    """Paragraphs between tables and figures, as HTML that is part of this package."""

    html: str


@dataclass(frozen=True)
class Tile:
    """One key figure: a big value, what it is, and its uncertainty or context."""

    value: str
    label: str
    detail: str


Block: TypeAlias = Table | Figure | Prose
