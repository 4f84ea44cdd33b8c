"""What each encoding looks like in every figure of a report.

Colors are the Okabe-Ito palette, darkened where its lightest members are too faint for a line on white; colors,
dashes and markers cycle with different periods, so that 30 encodings differ even in black and white.
"""

from dataclasses import dataclass
from typing import Any

from roformer.results.comparison import Comparison

COLORS = ("#0072b2", "#d55e00", "#009e73", "#b0609a", "#b07a00", "#4a9fd6")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Style:
    """Color (hex), matplotlib dash pattern and marker of one encoding."""

    color: str
    dash: Any
    marker: str


def styles(comparison: Comparison) -> dict[str, Style]:
    """Returns one style per encoding, the same in every figure of the page; the reference has the first."""
    encodings = [name for group in comparison.groups for name in group.encodings]
    names = dict.fromkeys([comparison.reference, *encodings])
    return {
        name: Style(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(names)
    }
