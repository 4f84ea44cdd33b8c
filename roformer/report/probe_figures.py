"""The figures of what probes measured: longer texts, attention, synthetic documents."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from roformer.report.canvas import (
    INK,
    MUTED,
    PAGE,
    WIDE,
    LineEnd,
    label_line_ends,
    new_axes,
    plain_ticks,
    shorten,
    text_width,
    themed,
)
from roformer.report.encodings import by_accuracy, by_loss, styles
from roformer.report.numbers import display_name, has_bounds
from roformer.report.probe_tables import is_masked, length_label

Comparison = Mapping[str, Any]


@themed
def loss_by_length(comparison: Comparison, width: int = WIDE) -> Figure:
    """Test loss at each sequence length on a logarithmic axis, with intervals, lines slightly apart."""
    part, look = comparison["lm"], styles(comparison)
    names = [name for name in by_loss(comparison) if part["encodings"][name]["loss_by_length"]]
    figure, axes, labels = _line_axes(names, width)
    lengths = sorted({int(length) for name in names for length in part["encodings"][name]["loss_by_length"]})
    ends = []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        style = look[name]
        points = sorted((int(length), loss) for length, loss in part["encodings"][name]["loss_by_length"].items())
        x = np.array([length for length, _ in points]) * 2 ** (0.02 * (i - (len(names) - 1) / 2))
        y = [loss["mean"] for _, loss in points]
        axes.plot(x, y, color=style.color, ls=style.dash, marker=style.marker, ms=7, mec=PAGE, mew=1)
        for at, (_, loss) in zip(x, points, strict=True):
            if has_bounds(loss):
                axes.plot([at, at], [loss["low"], loss["high"]], color=style.color, lw=1.6)
        if points[-1][0] == lengths[-1]:
            ends.append(LineEnd(x[-1], y[-1], label, style.color))
        else:  # it cannot go on, or was not measured: named where it stops
            axes.annotate(label, (x[-1], y[-1]), xytext=(10, -4), textcoords="offset points", va="top", fontsize=11.5)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    trained = part["settings"].get("sequence_length")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: length_label(round(length), trained)))
    axes.set(xlabel="Sequence length in tokens (multiple of the training length)", ylabel="Test loss (nats)")
    if width < 600:
        axes.set_xlabel("Sequence length (tokens)")
    axes.margins(x=0.06)
    label_line_ends(axes, ends, gap=17)
    return figure


@themed
def loss_by_position(comparison: Comparison, width: int = WIDE) -> Figure:
    """Test loss against the place in the longest windows, one line per encoding."""
    part, look = comparison["lm"], styles(comparison)
    names = [name for name in by_loss(comparison) if len(part["encodings"][name]["loss_by_position"]) > 1]
    figure, axes, labels = _line_axes(names, width)
    ends = []
    for name, label in zip(names, labels, strict=True):
        result, style = part["encodings"][name], look[name]
        losses = [interval["mean"] for interval in result["loss_by_position"]]
        longest = max(int(length) for length in result["loss_by_length"])
        x = (np.arange(len(losses)) + 0.5) * longest / len(losses)
        axes.plot(x, losses, color=style.color, ls=style.dash, marker=style.marker, ms=5, mec=PAGE, mew=0.8)
        ends.append(LineEnd(x[-1], losses[-1], label, style.color))
    axes.set(xlabel="Place in the text (tokens)", ylabel="Test loss (nats)")
    axes.set_xlim(0, max(end.x for end in ends))
    plain_ticks(axes, width)
    label_line_ends(axes, ends, gap=17)
    return figure


@themed
def attention_distance(comparison: Comparison, width: int = WIDE) -> Figure:
    """Mean attention distance: a dot a head, a row a layer, the layers of an encoding next to each other."""
    part, look = comparison["lm"], styles(comparison)
    names = [name for name in by_loss(comparison) if part["encodings"][name]["attention_distance"]]
    labels = [shorten(display_name(name)) for name in names]
    layers = [len(part["encodings"][name]["attention_distance"]) for name in names]
    left = 22 + text_width(labels, width)
    figure, axes = new_axes(width, 66 + 12 * (sum(layers) + len(names)), left=left, right=18, bottom=50, top=8)
    ticks, row = [], 0
    for name in names:
        distances = part["encodings"][name]["attention_distance"]
        ticks.append(row + (len(distances) - 1) / 2)
        for heads in distances:
            style = {"color": look[name].color, "ls": "none", "marker": look[name].marker, "ms": 6, "mec": PAGE}
            axes.plot(heads, [row] * len(heads), mew=0.6, **style)
            row += 1
        row += 1
    axes.set_yticks(ticks, labels)
    axes.set_ylim(row - 1, -1)
    if trained := part["settings"].get("sequence_length"):
        alike = (trained**2 - 1) / (3 * trained) if is_masked(part) else (trained - 1) / 4
        axes.axvline(alike, color=MUTED, lw=1, ls=(0, (1, 2)))
    axes.set_xlim(0, None)
    axes.set_xlabel("Mean attention distance (tokens)")
    axes.grid(visible=False, axis="y")
    return figure


@themed
def synthetic_cells(comparison: Comparison, width: int = WIDE) -> Figure:
    """Accuracy as the size of a square: a row an encoding, lengths side by side, the place in the text within each."""
    part, look = comparison["classification"], styles(comparison)
    names = [name for name in by_accuracy(comparison) if part["encodings"][name]["synthetic"]]
    labels = [shorten(display_name(name)) for name in names]
    lengths = sorted({int(length) for name in names for length in part["encodings"][name]["synthetic"]})
    left = 22 + text_width(labels, width)
    figure, axes = new_axes(width, 70 + 26 * len(names), left=left, right=18, bottom=54, top=8)
    per_length = max(len(cell["cells"]) for name in names for cell in part["encodings"][name]["synthetic"].values())
    for row, name in enumerate(names):
        for place, length in enumerate(lengths):
            cell = part["encodings"][name]["synthetic"].get(str(length))
            for column, accuracy in enumerate(cell["cells"] if cell else []):
                x = place * (per_length + 1.5) + column
                axes.add_patch(_square(x, row, accuracy, look[name].color))
    middles = [place * (per_length + 1.5) + (per_length - 1) / 2 for place in range(len(lengths))]
    axes.set_xticks(
        middles, [length_label(length, part["synthetic"]["training_words"]) for length in lengths], color=INK
    )
    axes.set_xlim(-1, len(lengths) * (per_length + 1.5) - 1)
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("Length (words); filled: accuracy of 100 %" if width >= 600 else "Length (words)")
    axes.grid(visible=False)
    return figure


def _line_axes(names: list[str], width: int) -> tuple[Figure, Axes, list[str]]:
    """Returns axes with room for the labels of all lines at their ends, and the labels."""
    labels = [shorten(display_name(name)) for name in names]
    height = max(340 if width >= 600 else 280, 110 + 18 * len(names))
    return *new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14), labels


def _square(x: float, y: float, share: float, color: str) -> Rectangle:
    """A cell that is filled from below by ``share``."""
    return Rectangle((x - 0.4, y + 0.4 - 0.8 * share), 0.8, 0.8 * share, facecolor=color, edgecolor="none")
