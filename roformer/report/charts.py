"""Charts that several sections draw: rows of dots with intervals, and lines that are named at their ends."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roformer.report.canvas import INK, PAGE, new_axes, shorten, text_width
from roformer.report.numbers import display_name, with_interval
from roformer.results.intervals import Interval


@dataclass(frozen=True)
class Row:
    """One mean with its interval, and how it is drawn."""

    label: str
    interval: Interval
    color: str
    marker: str
    filled: bool = True


def dot_chart(rows: Sequence[Row], width: int, *, decimals: int, scale: float, label: str) -> Figure:
    """Draws means, intervals and the values of single seeds, one row each; the numbers stand at the right."""
    values = [with_interval(row.interval, decimals, scale=scale) for row in rows]
    values = [value.partition(" [")[0] for value in values] if width < 600 else values
    left = 22 + text_width([line for row in rows for line in row.label.split("\n")], width)
    right = 18 + text_width(values, width)
    figure, axes = new_axes(width, 66 + 34 * len(rows), left=left, right=right, bottom=50, top=8)
    for y, row in enumerate(rows):
        if row.interval.low is not None and row.interval.high is not None:
            bounds = [scale * row.interval.low, scale * row.interval.high]
            axes.plot(bounds, [y, y], color=row.color, lw=2, solid_capstyle="butt")
        face, edge = (row.color, PAGE) if row.filled else (PAGE, row.color)
        axes.plot(scale * row.interval.mean, y, color=row.color, marker=row.marker, ms=8, mfc=face, mec=edge, mew=1.4)
        if len(row.interval.values) > 1:
            seeds = [scale * value for value in row.interval.values]
            axes.plot(seeds, [y + 0.27] * len(seeds), color=row.color, ls="none", marker=".", ms=4)
        axes.text(1.015, y, values[y], transform=axes.get_yaxis_transform(), va="center", fontsize=11.5, color=INK)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 4))
    axes.margins(x=0.06)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")
    return figure


def line_axes(names: Sequence[str], width: int) -> tuple[Figure, Axes, list[str]]:
    """Returns axes with room for the labels of all lines at their ends, and the labels."""
    labels = [shorten(display_name(name)) for name in names]
    height = max(340 if width >= 600 else 280, 110 + 18 * len(names))
    return *new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14), labels


def wrap(label: str) -> str:
    """Breaks a long label into lines."""
    return "\n".join(shorten(line) for line in textwrap.wrap(label, 20))
