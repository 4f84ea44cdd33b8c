"""The figures that need no run: what the rotation does, and the bound on its decay (Figure 2 of the paper)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from roformer.report.canvas import MUTED, WIDE, LineEnd, label_line_ends, new_axes, text_width, themed
from roformer.report.encodings import COLORS
from roformer.theory import relative_upper_bound

Comparison = Mapping[str, Any]
PAPER_HEAD_SIZE, PAPER_BASE = 128, 10_000.0  # Figure 2; the paper prints no head size, its curve fits this one
TOKENS = 64  # of a spiral


@themed
def rotation(comparison: Comparison, width: int = WIDE) -> Figure:
    """Three pairs of channels as spirals: the angle is that of the position, the radius grows with it."""
    figure, axes = new_axes(width, round(width / 3) + 40, left=4, right=4, bottom=36, top=4)
    positions = np.arange(TOKENS)
    pairs = (0, PAPER_HEAD_SIZE // 8, PAPER_HEAD_SIZE // 4)
    for place, (pair, color) in enumerate(zip(pairs, COLORS, strict=False)):
        theta = PAPER_BASE ** (-2 * pair / PAPER_HEAD_SIZE)
        radius = 0.1 + 0.85 * positions / (TOKENS - 1)
        x, y = 2.2 * place + radius * np.cos(positions * theta), radius * np.sin(positions * theta)
        axes.plot(x, y, color=color, lw=1, marker=".", ms=5)
        name = f"pair {pair}: {theta:.3g} radians a token"
        axes.text(2.2 * place, -1.12, name, ha="center", va="top", fontsize=11.5 if width >= 600 else 7.5)
        axes.plot([2.2 * place], [0], marker="+", ms=6, color=MUTED)
    axes.set(xlim=(-1.1, 5.5), ylim=(-1.1, 1.1), aspect="equal")
    axes.set_axis_off()
    return figure


@themed
def upper_bound(comparison: Comparison, width: int = WIDE) -> Figure:
    """Figure 2 of the paper, and the same bound for this model's head size where the settings tell it."""
    distances = np.arange(257)
    sizes = dict.fromkeys([PAPER_HEAD_SIZE, *_own_head_size(comparison)])
    colors = dict(zip(sizes, COLORS, strict=False))
    labels = [f"d = {size} ({'paper' if size == PAPER_HEAD_SIZE else 'these runs'})" for size in sizes]
    height = 320 if width >= 600 else 270
    figure, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14)
    ends = []
    for (size, color), label in zip(colors.items(), labels, strict=True):
        bound = relative_upper_bound(distances, head_size=size, base=PAPER_BASE)
        axes.plot(distances, bound, color=color, ls="-" if size == PAPER_HEAD_SIZE else (0, (5, 2)))
        ends.append(LineEnd(distances[-1], bound[-1], label, color))
    axes.set(xlabel="Relative distance (tokens)", ylabel="Relative upper bound", xlim=(0, 256), ylim=(0, None))
    axes.xaxis.set_major_locator(FixedLocator([0, 50, 100, 150, 200, 250] if width >= 600 else [0, 100, 200]))
    label_line_ends(axes, ends, gap=17)
    return figure


@themed
def decay(comparison: Comparison, width: int = WIDE) -> Figure:
    """What eq. 37 bounds, in a trained model, and the bound, each as a share of what it is at distance 0."""
    measured = measured_decay(comparison)
    assert measured is not None
    labels = {"scores": "|q·k|, measured", "bounds": "its bound"}
    left, right = 52, 36 + text_width(list(labels.values()), width)
    figure, axes = new_axes(width, 320 if width >= 600 else 270, left=left, right=right, bottom=50, top=14)
    ends = []
    for (name, label), color in zip(labels.items(), COLORS, strict=False):
        share = np.array(measured[name]) / measured[name][0]
        axes.plot(measured["distances"], share, color=color, ls="-" if name == "scores" else (0, (5, 2)))
        ends.append(LineEnd(measured["distances"][-1], share[-1], label, color))
    axes.set(xlabel="Relative distance (tokens)", ylabel="Share of that at distance 0")
    axes.set(xlim=(0, measured["distances"][-1]), ylim=(0, None))
    label_line_ends(axes, ends, gap=17)
    return figure


def measured_decay(comparison: Comparison) -> Mapping[str, Any] | None:
    """Returns the decay of the first encoding that it was measured on, or None."""
    encodings = (comparison["lm"] or {"encodings": {}})["encodings"].values()
    return next((result["decay"] for result in encodings if result["decay"]), None)


def _own_head_size(comparison: Comparison) -> list[int]:
    settings = (comparison["lm"] or {"settings": {}})["settings"]
    if settings.get("rope_base", 10000) != 10000:  # the figure is the paper's, which has this base only
        return []
    if "hidden_size" in settings and "num_attention_heads" in settings:
        return [settings["hidden_size"] // settings["num_attention_heads"]]
    return []
