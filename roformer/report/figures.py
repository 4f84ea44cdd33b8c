"""The figures of a report: pure functions from the comparison to a matplotlib ``Figure``, at a width in CSS pixels."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
from roformer.report.encodings import by_accuracy, by_loss, rival, styles
from roformer.report.numbers import Interval, display_name, fixed, has_bounds, with_interval
from roformer.report.probe_figures import attention_distance, loss_by_length, loss_by_position, synthetic_cells
from roformer.report.theory_figures import decay, measured_decay, rotation, upper_bound

Comparison = Mapping[str, Any]


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
        results = comparison["lm"]["encodings"].values()
        text = f"Large: mean. {_rows_caption(result['loss'] for result in results)}"
        figures.append(("ranking", "Test loss of every encoding.", text, ranking))
        if _with_curve(comparison):
            figures.append(
                ("loss_curves", "Validation loss during training.", _curve_caption(comparison), loss_curves)
            )
        text = "Down and to the right is better. Speed is that of this machine."
        figures.append(("cost", "Test loss against training speed.", text, cost))
        if any(result["loss_by_length"] for result in comparison["lm"]["encodings"].values()):
            several = any(len(result["seeds"]) > 1 for result in results)
            bars = "; bars: 95 % CI over seeds" if several else ""
            text = f"The same tokens are predicted at each length{bars}. Lower is better."
            figures.append(("loss_by_length", "Test loss against sequence length.", text, loss_by_length))
        if any(len(result["loss_by_position"]) > 1 for result in comparison["lm"]["encodings"].values()):
            text = "In the longest windows that an encoding takes: does it fail everywhere in them, or only far in?"
            figures.append(("loss_by_position", "Test loss by place in the text.", text, loss_by_position))
        if any(result["attention_distance"] for result in comparison["lm"]["encodings"].values()):
            text = (
                "A row a layer, the first above; a dot a head, by rising distance, the mean over seeds: the mean "
                "distance, in tokens, between a token and what it attends to at the training length. Line: attention "
                "to all tokens alike."
            )
            figures.append(("attention_distance", "How far heads look.", text, attention_distance))
    if by_accuracy(comparison):
        results = comparison["classification"]["encodings"].values()
        text = (
            f"Large: mean. {_rows_caption(result['accuracy'] for result in results)} Open dots: baselines without a "
            "position encoding."
        )
        figures.append(("accuracy", "Classification accuracy on the test documents.", text, accuracy))
        documents = comparison["classification"]["synthetic"]
        if documents and documents["cell"]:
            text = f"Across each length: {documents['cell']}, from the first eighth to the last."
            figures.append(("synthetic_cells", "Accuracy by length and place.", text, synthetic_cells))
    text = (
        "Each pair of channels of a query or key turns by an angle of its own for each token; drawn for 64 tokens, "
        "from the first at the center to the last at the rim."
    )
    figures.append(("rotation", "What RoPE does: a fast, a middle and a slow pair.", text, rotation))
    text = (
        "Recomputed from the formula above. The bound falls with distance, though not steadily, and it is only a "
        "bound: it does not say that attention itself falls."
    )
    figures.append(
        ("relative_upper_bound", "The bound behind long-term decay (Figure 2 of the paper).", text, upper_bound)
    )
    if measured_decay(comparison):
        text = (
            "Queries and keys of test rows, all heads and layers: the mean of |q·k| had they stood at each distance, "
            "and of its bound by eq. 37, each over its own value at distance 0. (The bound itself is never below.)"
        )
        figures.append(("decay", "What the bound bounds, in a trained RoPE model.", text, decay))
    return [
        Drawing(name, f"Figure {n}. {title}", caption, describe(comparison, name), draw)
        for n, (name, title, caption, draw) in enumerate(figures, start=1)
    ]


@themed
def loss_curves(comparison: Comparison, width: int = WIDE) -> Figure:
    """Validation loss against steps, one line per encoding with its CI band, and the common loss as a level."""
    part, look = comparison["lm"], styles(comparison)
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
            color=style.color,
            ls=style.dash,
            marker=style.marker,
            ms=6.5,
            mec=PAGE,
            mew=0.8,
            markevery=max(1, len(curve["steps"]) // 8),
        )
        if curve["low"] and curve["high"]:
            axes.fill_between(curve["steps"], curve["low"], curve["high"], color=style.color, alpha=0.18, lw=0)
        ends.append(LineEnd(curve["steps"][-1], curve["mean"][-1], label, style.color))
    level = _common_loss(comparison)
    if level is not None:
        axes.axhline(level, color=MUTED, lw=1, ls=(0, (1, 2)))
    if level is not None and width >= 600:  # on a phone the caption alone says it: there is no room beside the curves
        at = (0.0, level)
        text = {"xytext": (4, -4), "textcoords": "offset points", "va": "top", "color": MUTED, "fontsize": 11}
        axes.annotate(f"common loss {at[1]:.3f}", at, xycoords=axes.get_yaxis_transform(), **text)
    axes.set_xlim(0, max(end.x for end in ends))
    axes.set(xlabel="Steps", ylabel="Validation loss (nats)")
    plain_ticks(axes, width)
    if tokens_per_step:
        _token_axis(axes, tokens_per_step, width)
    label_line_ends(axes, ends, gap=17)
    return figure


@themed
def ranking(comparison: Comparison, width: int = WIDE) -> Figure:
    """Test loss: one row per encoding with its interval, every seed as a small dot."""
    part, look = comparison["lm"], styles(comparison)
    rows = [
        Row(shorten(display_name(name)), part["encodings"][name]["loss"], look[name].color, look[name].marker)
        for name in sorted(part["encodings"], key=lambda name: part["encodings"][name]["loss"]["mean"])
    ]
    return _dots(rows, width, decimals=3, scale=1, label="Test loss (nats)")


@themed
def cost(comparison: Comparison, width: int = WIDE) -> Figure:
    """Test loss against training speed, a point per encoding."""
    part, look = comparison["lm"], styles(comparison)
    figure, axes = new_axes(width, 360 if width >= 600 else 280, left=52, right=20, bottom=50, top=14)
    for name in by_loss(comparison):
        result, style = part["encodings"][name], look[name]
        x, y = result["tokens_per_second"]["mean"], result["loss"]["mean"]
        axes.plot(x, y, color=style.color, marker=style.marker, ms=8, mec=PAGE, mew=1)
        axes.annotate(shorten(display_name(name)), (x, y), xytext=(7, 4), textcoords="offset points", fontsize=11)
    axes.set(xlabel="Training tokens/s", ylabel="Test loss (nats)")
    axes.margins(x=0.16, y=0.12)
    plain_ticks(axes, width)
    return figure


@themed
def accuracy(comparison: Comparison, width: int = WIDE) -> Figure:
    """Classification accuracy: one row per model with its interval, the value written at the right."""
    part, look = comparison["classification"], styles(comparison)
    rows = [
        Row(shorten(display_name(name)), part["encodings"][name]["accuracy"], look[name].color, look[name].marker)
        for name in by_accuracy(comparison)
    ]
    for name, result in part["baselines"].items():
        rows.append(Row(_wrap(name), result["accuracy"], MUTED, "o", filled=False))
    return _dots(rows, width, decimals=1, scale=100, label="Accuracy (%)")


@dataclass(frozen=True)
class Row:
    """One mean with its interval, and how it is drawn."""

    label: str
    interval: Interval
    color: str
    marker: str
    filled: bool = True


def _dots(rows: list[Row], width: int, *, decimals: int, scale: float, label: str) -> Figure:
    """Draws means, intervals and the values of single seeds, a row each; the numbers stand at the right."""
    values = [with_interval(row.interval, decimals, scale=scale) for row in rows]
    values = [value.partition(" [")[0] for value in values] if width < 600 else values
    left = 22 + text_width([line for row in rows for line in row.label.split("\n")], width)
    right = 18 + text_width(values, width)
    figure, axes = new_axes(width, 66 + 34 * len(rows), left=left, right=right, bottom=50, top=8)
    for y, row in enumerate(rows):
        if has_bounds(row.interval):
            bounds = [scale * row.interval["low"], scale * row.interval["high"]]
            axes.plot(bounds, [y, y], color=row.color, lw=2, solid_capstyle="butt")
        face, edge = (row.color, PAGE) if row.filled else (PAGE, row.color)
        axes.plot(
            scale * row.interval["mean"], y, color=row.color, marker=row.marker, ms=8, mfc=face, mec=edge, mew=1.4
        )
        if len(row.interval["values"]) > 1:
            seeds = [scale * value for value in row.interval["values"]]
            axes.plot(seeds, [y + 0.27] * len(seeds), color=row.color, ls="none", marker=".", ms=4)
        axes.text(1.015, y, values[y], transform=axes.get_yaxis_transform(), va="center", fontsize=11.5, color=INK)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 4))
    axes.margins(x=0.06)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")
    return figure


def describe(comparison: Comparison, name: str) -> str:
    """Returns what a figure shows in words and end values, for screen readers."""
    if name == "loss_curves":
        results = ((key, comparison["lm"]["encodings"][key]["curve"]) for key in _with_curve(comparison))
        ends = (f"{display_name(key)} ends at {fixed(curve['mean'][-1], 3)}" for key, curve in results)
        return f"Line chart of validation loss against steps: {'; '.join(ends)}."
    if name == "loss_by_length":
        return "Line chart of test loss against sequence length; the extrapolation table gives its values."
    if name == "ranking":
        results = ((key, comparison["lm"]["encodings"][key]["loss"]) for key in by_loss(comparison))
        values = (f"{display_name(key)} {with_interval(value, 3)}" for key, value in results)
        return f"Dot chart of the test loss in nats: {'; '.join(values)}."
    if name == "cost":
        return "Scatter plot of test loss against training tokens a second; the tables give both."
    if name == "rotation":
        return "Three spirals of 64 points: the first winds ten times, the second once, the third hardly turns."
    if name == "loss_by_position":
        return "Line chart of test loss against the place in the longest windows."
    if name == "attention_distance":
        return "Dot chart of the mean attention distance of every head, by encoding and layer."
    if name == "decay" and (measured := measured_decay(comparison)):
        ends = (f"{name} {fixed(measured[name][-1] / measured[name][0], 2)}" for name in ("scores", "bounds"))
        return f"Line chart of shares of the value at distance 0; at {measured['distances'][-1]}: {', '.join(ends)}."
    if name == "synthetic_cells":
        return "Heat map of accuracy by encoding, length and place; the table gives the means by length."
    if name == "accuracy":
        results = (
            (key, comparison["classification"]["encodings"][key]["accuracy"]) for key in by_accuracy(comparison)
        )
        values = (f"{display_name(key)} {with_interval(value, 1, scale=100)}" for key, value in results)
        return f"Dot chart of classification accuracy in per cent: {'; '.join(values)}."
    return "Line chart of the relative upper bound: for head size 128 from 32.5 at distance 0 to 6.5 at distance 256."


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
    return [name for name in by_loss(comparison) if comparison["lm"]["encodings"][name]["curve"]["steps"]]


def _common_loss(comparison: Comparison) -> float | None:
    """The loss of the race that the headline tells of, or None where there is none."""
    race = comparison["lm"]["encodings"].get(rival(by_loss(comparison)), {}).get("race")
    return race["target_loss"] if race else None


def _tokens_per_step(curves: Iterable[Mapping[str, Any]]) -> float | None:
    """The one rate that turns steps into tokens, or None where the runs do not share one to 1 %."""
    rates = [t / s for curve in curves for s, t in zip(curve["steps"], curve["tokens"], strict=True) if s]
    return rates[-1] if rates and max(rates) <= 1.01 * min(rates) and min(rates) > 0 else None


def _rows_caption(intervals: Iterable[Interval]) -> str:
    """Says what stands beside the means of rows of dots."""
    intervals = list(intervals)
    if any(len(interval["values"]) > 1 for interval in intervals):
        return "Bar: 95 % CI; small, below: every seed."
    return "Bar: 95 % CI over the test examples." if any(map(has_bounds, intervals)) else "One seed: no bars."


def _curve_caption(comparison: Comparison) -> str:
    bands = any(result["curve"]["low"] for result in comparison["lm"]["encodings"].values())
    spread = "Lines: mean over seeds; bands: 95 % CI." if bands else "One seed: no bands."
    level = _common_loss(comparison)
    if level is None:
        return spread
    names = by_loss(comparison)
    runs = f"{display_name(names[0])} and {display_name(rival(names))}"
    return f"{spread} Dotted level: {level:.3f}, the loss that every run of {runs} reached (see the next table)."


def _wrap(label: str) -> str:
    return "\n".join(shorten(line) for line in textwrap.wrap(label, 20))
