"""The figures that need no run: what the rotation does, and the bound on its decay (Figure 2 of the paper)."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib import figure
from matplotlib.ticker import FixedLocator

from roformer.report.blocks import Block, Prose
from roformer.report.canvas import MUTED, LineEnd, label_line_ends, new_axes, text_width, themed
from roformer.report.figure import Figure
from roformer.report.styles import COLORS
from roformer.results.comparison import Comparison
from roformer.sections.section import SECTIONS, Nothing, Section
from roformer.theory import relative_upper_bound

PAPER_HEAD_SIZE, PAPER_BASE = 128, 10_000.0  # Figure 2; the paper prints no head size, its curve fits this one
TOKENS = 64  # of a spiral
_FORMULA = (
    '<p class="prose">Equation 37 bounds the product of a rotated query and key by a factor that depends on their '
    "relative distance <i>m</i> only. The paper plots its mean,</p>\n"
    '<p class="formula"><span>1 / (<i>d</i>/2) · Σ<sub><i>j</i> = 1 … <i>d</i>/2</sub> |<i>S<sub>j</sub></i>|,</span> '
    "<span><i>S<sub>j</sub></i> = Σ<sub><i>k</i> &lt; <i>j</i></sub> e<sup>i <i>m</i> <i>θ<sub>k</sub></i></sup>,"
    "</span> <span><i>θ<sub>k</sub></i> = 10000<sup>−2<i>k</i>/<i>d</i></sup>,</span></p>\n"
    '<p class="prose">for head size <i>d</i>. It prints no <i>d</i>; its curve fits <i>d</i> = 128.</p>'
)


@SECTIONS.register("rotation")
class Rotation(Section[Nothing]):
    heading = "What the rotation does"
    place = 790

    def render(self, summary: Nothing, comparison: Comparison) -> Iterator[Block]:
        yield Figure(
            "rotation",
            "What RoPE does: a fast, a middle and a slow pair.",
            "Each pair of channels of a query or key rotates by its own angle per token; drawn for 64 tokens, from "
            "the first at the center to the last at the rim.",
            "Three spirals of 64 points: the first winds ten times, the second once, the third hardly turns.",
            rotation,
        )


@SECTIONS.register("upper_bound")
class UpperBound(Section[Nothing]):
    heading = "The paper’s bound on long-term decay"
    place = 800

    def render(self, summary: Nothing, comparison: Comparison) -> Iterator[Block]:
        yield Prose(_FORMULA)
        yield Figure(
            "relative_upper_bound",
            "The bound behind long-term decay (Figure 2 of the paper).",
            "Recomputed from the formula above. The bound falls with distance, though not steadily, and it is only a "
            "bound: it does not show that attention itself falls.",
            "Line chart of the relative upper bound: for head size 128 from 32.5 at distance 0 to 6.5 at 256.",
            partial(upper_bound, _own_head_size(comparison)),
        )


@themed
def rotation(width: int) -> figure.Figure:
    """Three pairs of channels as spirals: the angle is that of the position, the radius grows with it."""
    drawn, axes = new_axes(width, round(width / 3) + 40, left=4, right=4, bottom=36, top=4)
    positions = np.arange(TOKENS)
    pairs = (0, PAPER_HEAD_SIZE // 8, PAPER_HEAD_SIZE // 4)
    for place, (pair, color) in enumerate(zip(pairs, COLORS, strict=False)):
        theta = PAPER_BASE ** (-2 * pair / PAPER_HEAD_SIZE)
        radius = 0.1 + 0.85 * positions / (TOKENS - 1)
        x, y = 2.2 * place + radius * np.cos(positions * theta), radius * np.sin(positions * theta)
        axes.plot(x, y, color=color, lw=1, marker=".", ms=5)
        name = f"pair {pair}: {theta:.3g} radians per token"
        axes.text(2.2 * place, -1.12, name, ha="center", va="top", fontsize=11.5 if width >= 600 else 7.5)
        axes.plot([2.2 * place], [0], marker="+", ms=6, color=MUTED)
    axes.set(xlim=(-1.1, 5.5), ylim=(-1.1, 1.1), aspect="equal")
    axes.set_axis_off()
    return drawn


@themed
def upper_bound(own: list[int], width: int) -> figure.Figure:
    """Figure 2 of the paper, and the same bound for the head sizes of these runs."""
    distances = np.arange(257)
    sizes = dict.fromkeys([PAPER_HEAD_SIZE, *own])
    colors = dict(zip(sizes, COLORS, strict=False))
    labels = [f"d = {size} ({'paper' if size == PAPER_HEAD_SIZE else 'these runs'})" for size in sizes]
    height = 320 if width >= 600 else 270
    drawn, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=14)
    ends = []
    for (size, color), label in zip(colors.items(), labels, strict=True):
        bound = relative_upper_bound(distances, head_size=size, base=PAPER_BASE)
        axes.plot(distances, bound, color=color, ls="-" if size == PAPER_HEAD_SIZE else (0, (5, 2)))
        ends.append(LineEnd(distances[-1], bound[-1], label, color))
    axes.set(xlabel="Relative distance (tokens)", ylabel="Relative upper bound", xlim=(0, 256), ylim=(0, None))
    axes.xaxis.set_major_locator(FixedLocator([0, 50, 100, 150, 200, 250] if width >= 600 else [0, 100, 200]))
    label_line_ends(axes, ends, gap=17)
    return drawn


def _own_head_size(comparison: Comparison) -> list[int]:
    settings = comparison.settings("language_modeling")
    if settings.get("rope_theta", PAPER_BASE) != PAPER_BASE:  # the figure is the paper's, which has this base only
        return []
    if "hidden_size" in settings and "num_attention_heads" in settings:
        return [settings["hidden_size"] // settings["num_attention_heads"]]
    return []
