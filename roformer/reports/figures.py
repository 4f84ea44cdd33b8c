"""The figures of a report: pure functions from the comparison to a matplotlib ``Figure``, at a width in CSS pixels."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from roformer.reports.canvas import (
    INK,
    MUTED,
    PAGE,
    WIDE,
    LineEnd,
    label_line_ends,
    new_axes,
    shorten,
    text_width,
    themed,
)
from roformer.reports.encodings import COLOURS, by_accuracy, by_loss, rival, styles
from roformer.reports.numbers import Interval, display_name, fixed, has_bounds, with_interval
from roformer.reports.tables import length_label
from roformer.theory import relative_upper_bound

Comparison = Mapping[str, Any]
PAPER_HEAD_SIZE, PAPER_BASE = 128, 10_000.0  # Figure 2; the paper prints no head size, its curve fits this one


@dataclass(frozen=True)
class Drawing:
    """A figure that the page shows: file name, caption, words for those who cannot see it, and how to draw it."""

    name: str
    title: str
    caption: str
    description: str
    draw: Callable[[Comparison, int], Figure]


def all_figures(comparison: Comparison) -> list[Drawing]:
    """Returns the figures that the comparison has numbers for, in the order of the page, numbered from 1."""
    figures: list[tuple[str, str, str, Callable[[Comparison, int], Figure]]] = []
    if by_loss(comparison):
        if _with_curve(comparison):
            figures.append(
                ("loss_curves", "Validation loss during training.", _curve_caption(comparison), loss_curves)
            )
        if any(result["loss_by_length"] for result in comparison["mlm"]["encodings"].values()):
            text = "The same tokens are predicted at each length; bars: 95 % CI over seeds. Lower is better."
            figures.append(("loss_by_length", "Test loss against sequence length.", text, loss_by_length))
    if by_accuracy(comparison):
        text = "Dots: mean; bars: 95 % CI; open dots: baselines without a position encoding."
        figures.append(("accuracy", "Classification accuracy on the test documents.", text, accuracy))
    text = (
        "Recomputed from the formula above. The bound falls with distance, though not steadily, and it is only a "
        "bound: it does not say that attention itself falls."
    )
    figures.append(
        ("relative_upper_bound", "The bound behind long-term decay (Figure 2 of the paper).", text, upper_bound)
    )
    return [
        Drawing(name, f"Figure {n}. {title}", caption, describe(comparison, name), draw)
        for n, (name, title, caption, draw) in enumerate(figures, start=1)
    ]


@themed
def loss_curves(comparison: Comparison, width: int = WIDE) -> Figure:
    """Validation loss against steps, one line per encoding with its CI band, and the common loss as a level."""
    part, look = comparison["mlm"], styles(comparison)
    names = _with_curve(comparison)
    labels = [shorten(display_name(name)) for name in names]
    height = max(380 if width >= 600 else 280, 110 + 18 * len(names))
    tokens_per_step = _tokens_per_step(part["encodings"][name]["curve"] for name in names)
    top = 58 if tokens_per_step else 14
    figure, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=top)
    ends = []
    for name, label in zip(names, labels, strict=True):
        curve, style = part["encodings"][name]["curve"], look[name]
        axes.plot(
            *(curve["steps"], curve["mean"]),
            color=style.colour,
            ls=style.dash,
            marker=style.marker,
            ms=6.5,
            mec=PAGE,
            mew=0.8,
            markevery=max(1, len(curve["steps"]) // 8),
        )
        if curve["low"] and curve["high"]:
            axes.fill_between(curve["steps"], curve["low"], curve["high"], color=style.colour, alpha=0.18, lw=0)
        ends.append(LineEnd(curve["steps"][-1], curve["mean"][-1], label, style.colour))
    level = _common_loss(comparison)
    if level is not None:
        axes.axhline(level, color=MUTED, lw=1, ls=(0, (1, 2)))
    if level is not None and width >= 600:  # on a phone the caption alone says it: there is no room beside the curves
        at = (0.0, level)
        text = {"xytext": (4, -4), "textcoords": "offset points", "va": "top", "color": MUTED, "fontsize": 11}
        axes.annotate(f"common loss {at[1]:.3f}", at, xycoords=axes.get_yaxis_transform(), **text)
    axes.set_xlim(0, max(end.x for end in ends))
    axes.set(xlabel="Steps", ylabel="Validation loss (nats)")
    _plain_ticks(axes, width)
    if tokens_per_step:
        _token_axis(axes, tokens_per_step, width)
    label_line_ends(axes, ends, gap=17)
    return figure


@themed
def loss_by_length(comparison: Comparison, width: int = WIDE) -> Figure:
    """Test loss at each sequence length on a logarithmic axis, with intervals, lines slightly apart."""
    part, look = comparison["mlm"], styles(comparison)
    names = [name for name in by_loss(comparison) if part["encodings"][name]["loss_by_length"]]
    labels = [shorten(display_name(name)) for name in names]
    height = max(340 if width >= 600 else 280, 110 + 18 * len(names))
    figure, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14)
    lengths = sorted({int(length) for name in names for length in part["encodings"][name]["loss_by_length"]})
    ends = []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        style = look[name]
        points = sorted((int(length), loss) for length, loss in part["encodings"][name]["loss_by_length"].items())
        x = np.array([length for length, _ in points]) * 2 ** (0.02 * (i - (len(names) - 1) / 2))
        y = [loss["mean"] for _, loss in points]
        axes.plot(x, y, color=style.colour, ls=style.dash, marker=style.marker, ms=7, mec=PAGE, mew=1)
        for at, (_, loss) in zip(x, points, strict=True):
            if has_bounds(loss):
                axes.plot([at, at], [loss["low"], loss["high"]], color=style.colour, lw=1.6)
        if points[-1][0] == lengths[-1]:
            ends.append(LineEnd(x[-1], y[-1], label, style.colour))
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
def accuracy(comparison: Comparison, width: int = WIDE) -> Figure:
    """Classification accuracy: one row per model with its interval, the value written at the right."""
    part, look = comparison["classification"], styles(comparison)
    rows: list[tuple[str, Interval, str, str, bool]] = []
    for name in by_accuracy(comparison):
        interval = part["encodings"][name]["accuracy"]
        rows.append((shorten(display_name(name)), interval, look[name].colour, look[name].marker, True))
    for name, result in part["baselines"].items():
        rows.append((_wrap(name), result["accuracy"], MUTED, "o", False))
    values = [with_interval(row[1], 1, scale=100) for row in rows]
    values = [value.partition(" [")[0] for value in values] if width < 600 else values
    left = 22 + text_width([line for row in rows for line in row[0].split("\n")], width)
    right = 18 + text_width(values, width)
    figure, axes = new_axes(width, 66 + 34 * len(rows), left=left, right=right, bottom=50, top=8)
    for y, (_, interval, colour, marker, filled) in enumerate(rows):
        if has_bounds(interval):
            axes.plot(
                [100 * interval["low"], 100 * interval["high"]], [y, y], color=colour, lw=2, solid_capstyle="butt"
            )
        face = colour if filled else PAGE
        axes.plot(
            100 * interval["mean"],
            y,
            color=colour,
            marker=marker,
            ms=8,
            mfc=face,
            mec=PAGE if filled else colour,
            mew=1.4,
        )
        axes.text(1.015, y, values[y], transform=axes.get_yaxis_transform(), va="center", fontsize=11.5, color=INK)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 4))
    axes.margins(x=0.06)
    axes.set_xlabel("Accuracy (%)")
    axes.grid(visible=False, axis="y")
    return figure


@themed
def upper_bound(comparison: Comparison, width: int = WIDE) -> Figure:
    """Figure 2 of the paper, and the same bound for this model's head size where the settings tell it."""
    distances = np.arange(257)
    sizes = dict.fromkeys([PAPER_HEAD_SIZE, *_own_head_size(comparison)])
    colours = dict(zip(sizes, COLOURS, strict=False))
    labels = [f"d = {size} ({'paper' if size == PAPER_HEAD_SIZE else 'these runs'})" for size in sizes]
    height = 320 if width >= 600 else 270
    figure, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14)
    ends = []
    for (size, colour), label in zip(colours.items(), labels, strict=True):
        bound = relative_upper_bound(distances, head_size=size, base=PAPER_BASE)
        axes.plot(distances, bound, color=colour, ls="-" if size == PAPER_HEAD_SIZE else (0, (5, 2)))
        ends.append(LineEnd(distances[-1], bound[-1], label, colour))
    axes.set(xlabel="Relative distance (tokens)", ylabel="Relative upper bound", xlim=(0, 256), ylim=(0, None))
    axes.xaxis.set_major_locator(FixedLocator([0, 50, 100, 150, 200, 250] if width >= 600 else [0, 100, 200]))
    label_line_ends(axes, ends, gap=17)
    return figure


def describe(comparison: Comparison, name: str) -> str:
    """Returns what a figure shows in words and end values, for screen readers."""
    if name == "loss_curves":
        results = ((key, comparison["mlm"]["encodings"][key]["curve"]) for key in _with_curve(comparison))
        ends = (f"{display_name(key)} ends at {fixed(curve['mean'][-1], 3)}" for key, curve in results)
        return f"Line chart of validation loss against steps: {'; '.join(ends)}."
    if name == "loss_by_length":
        return "Line chart of test loss against sequence length; the extrapolation table gives its values."
    if name == "accuracy":
        results = (
            (key, comparison["classification"]["encodings"][key]["accuracy"]) for key in by_accuracy(comparison)
        )
        values = (f"{display_name(key)} {with_interval(value, 1, scale=100)}" for key, value in results)
        return f"Dot chart of classification accuracy in per cent: {'; '.join(values)}."
    return "Line chart of the relative upper bound: for head size 128 from 32.5 at distance 0 to 6.5 at distance 256."


def _plain_ticks(axes: Axes, width: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 3, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _token_axis(axes: Axes, tokens_per_step: float, width: int) -> None:
    above = axes.secondary_xaxis(
        "top", functions=(lambda x: x * tokens_per_step / 1e6, lambda t: t * 1e6 / tokens_per_step)
    )
    above.set_facecolor("none")
    above.set_xlabel("Training tokens (millions)", labelpad=8, color=INK, fontsize=axes.xaxis.label.get_size())
    above.tick_params(length=0, pad=4, labelsize=axes.xaxis.label.get_size() - 0.5, labelcolor=INK)
    above.spines["top"].set_visible(False)
    above.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 3))


def _with_curve(comparison: Comparison) -> list[str]:
    """The encodings whose seeds have been evaluated at common steps."""
    return [name for name in by_loss(comparison) if comparison["mlm"]["encodings"][name]["curve"]["steps"]]


def _common_loss(comparison: Comparison) -> float | None:
    """The loss of the race that the headline tells of, or None where there is none."""
    race = comparison["mlm"]["encodings"].get(rival(by_loss(comparison)), {}).get("race")
    return race["target_loss"] if race else None


def _tokens_per_step(curves: Iterable[Mapping[str, Any]]) -> float | None:
    """The one rate that turns steps into tokens, or None where the runs do not share one to 1 %."""
    rates = [t / s for curve in curves for s, t in zip(curve["steps"], curve["tokens"], strict=True) if s]
    return rates[-1] if rates and max(rates) <= 1.01 * min(rates) and min(rates) > 0 else None


def _own_head_size(comparison: Comparison) -> list[int]:
    settings = (comparison["mlm"] or {"settings": {}})["settings"]
    if settings.get("rope_base", 10000) != 10000:  # the figure is the paper's, which has this base only
        return []
    if "hidden_size" in settings and "num_attention_heads" in settings:
        return [settings["hidden_size"] // settings["num_attention_heads"]]
    return []


def _curve_caption(comparison: Comparison) -> str:
    bands = any(result["curve"]["low"] for result in comparison["mlm"]["encodings"].values())
    spread = "Lines: mean over seeds; bands: 95 % CI." if bands else "One seed: no bands."
    level = _common_loss(comparison)
    if level is None:
        return spread
    names = by_loss(comparison)
    runs = f"{display_name(names[0])} and {display_name(rival(names))}"
    return f"{spread} Dotted level: {level:.3f}, the loss that every run of {runs} reached (see the next table)."


def _wrap(label: str) -> str:
    return "\n".join(shorten(line) for line in textwrap.wrap(label, 20))
