"""Drawing surface of the figures: theme, line-end labels, and the SVG and PNG files that come of a figure.

One unit of an inline SVG is one CSS pixel at the page's full width. Figures are drawn in the light theme; for the page
its colors are exchanged for CSS variables, so that the same drawing follows the reader's light or dark setting.
"""

import functools
import html
import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from roformer.report.fonts import FONT
from roformer.report.styles import COLORS

Arguments = ParamSpec("Arguments")

_LONGEST = 24  # columns of a label
WIDE, NARROW = 864, 328  # CSS pixels: the page's text column, and a phone's
POINTS = 72  # matplotlib writes one SVG unit per point
INK, MUTED, GRID, PAGE = "#1b1f24", "#57606b", "#dfe3e8", "#fefefe"
CSS_COLORS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAGE: "var(--page)",
    **{color: f"var(--series-{i})" for i, color in enumerate(COLORS, start=1)},
}
SETTINGS = {
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,  # a tick says its value
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "font.family": FONT,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class LineEnd:
    """The last point of a line, in data coordinates, and the label that belongs there."""

    x: float
    y: float
    label: str
    color: str


def themed(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Decorator: draws under ``SETTINGS``, whatever the caller has set in matplotlib."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with mpl.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def new_axes(width: int, height: int, *, left: int, right: int, bottom: int, top: int) -> tuple[Figure, Axes]:
    """Returns a transparent figure with one pair of axes; sizes in CSS pixels. Call from a ``themed`` function."""
    size = 11.0 if width < 600 else 12.5
    with mpl.rc_context({"font.size": size, "axes.labelsize": size}):
        figure = Figure(figsize=(width / POINTS, height / POINTS), facecolor="none")
        box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
        axes = figure.add_axes(box, facecolor="none")
    axes.tick_params(length=0, pad=6, labelsize=size - 0.5)
    axes.spines["left"].set_visible(False)
    return figure, axes


def plain_ticks(axes: Axes, width: int) -> None:
    """Writes whole numbers with thousands separators along x, fewer of them on a phone."""
    axes.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 3, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def text_width(labels: Sequence[str], width: int) -> int:
    """Returns the room that the longest label takes, in CSS pixels, for a figure of this width."""
    return round(max(map(_columns, labels), default=0) * (6.6 if width < 600 else 7.6))


def shorten(label: str) -> str:
    """Returns the label in at most 24 columns, so that no name can squeeze a figure away."""
    if _columns(label) <= _LONGEST:
        return label
    return next(start for end in range(len(label), -1, -1) if _columns(start := label[:end]) < _LONGEST) + "\u2026"


def _columns(label: str) -> int:
    """Returns how wide a label is: one for each character, two for each Chinese one."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in label)


def label_line_ends(axes: Axes, ends: Sequence[LineEnd], *, gap: int) -> None:
    """Writes each label right of its line's end, moved up or down where labels would overlap.

    Args:
        axes: limits must be final.
        ends: one per line.
        gap: least distance of two labels, in CSS pixels.
    """
    figure = axes.figure
    height = axes.get_position().height * figure.get_size_inches()[1] * POINTS
    ends = sorted(ends, key=lambda end: end.y)
    at = [axes.transAxes.inverted().transform(axes.transData.transform((end.x, end.y))) for end in ends]
    rows = spread([float(y) for _, y in at], gap / height)
    for end, (x, y), row in zip(ends, at, rows, strict=True):
        axes.plot([x, 1.015, 1.03], [y, row, row], transform=axes.transAxes, color=end.color, lw=0.8, clip_on=False)
        axes.text(
            1.038,
            row,
            end.label,
            transform=axes.transAxes,
            va="center",
            color=INK,
            clip_on=False,
            fontsize=_size(axes),
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Returns the positions in 0..1 nearest to the rising ``values`` (least squares), ``gap`` apart or more."""
    blocks: list[list[float]] = []  # values less their slot, in blocks that must share one offset
    for i, value in enumerate(values):
        blocks.append([value - i * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    offsets = [float(np.mean(block)) for block in blocks for _ in block]
    highest = 1 - (len(values) - 1) * gap
    return [max(0.0, min(highest, offset)) + i * gap for i, offset in enumerate(offsets)]


def to_svg(figure: Figure, *, name: str) -> str:
    """Returns a standalone SVG on white, the same bytes for the same figure and name."""
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        buffer = io.StringIO()
        _save(figure, buffer, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def to_inline_svg(figure: Figure, *, name: str, title: str, description: str) -> str:
    """Returns an ``<svg>`` for the page: transparent, colored by CSS, with ids unique by ``name``."""
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        buffer = io.StringIO()
        _save(figure, buffer, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    for color, variable in CSS_COLORS.items():
        body = body.replace(color, variable)
    body = re.sub(r"px 'DejaVu Sans'[^;\"]*", "px var(--sans)", body)
    viewbox = re.search(r'viewBox="[^"]*"', body)
    assert viewbox, "matplotlib writes a viewBox"
    head = f'<svg role="img" aria-label="{html.escape(description)}" {viewbox[0]} xmlns:xlink="http://www.w3.org/1999/xlink">'
    return f"{head}\n<title>{html.escape(title)}</title>{body[body.index('>') + 1 :]}"


def to_png(figure: Figure) -> bytes:
    """Returns a PNG on white at two pixels per CSS pixel."""
    buffer = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        _save(figure, buffer, format="png", dpi=2 * POINTS, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _save(figure: Figure, buffer: io.BytesIO | io.StringIO, **settings: Any) -> None:
    with warnings.catch_warnings():  # one for each character in each file; write_report says it once
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.savefig(buffer, **settings)


def _size(axes: Axes) -> float:
    return float(axes.xaxis.label.get_size())
