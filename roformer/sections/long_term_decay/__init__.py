"""How scores of a trained RoPE model fall with distance, and the paper's bound (section 3.4.3, eq. 35-37)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure

from roformer.report.blocks import Block
from roformer.report.canvas import LineEnd, label_line_ends, new_axes, text_width, themed
from roformer.report.figure import Figure
from roformer.report.numbers import fixed
from roformer.report.styles import COLORS
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections.section import SECTIONS, Section

FAMILY = "language_modeling"


@dataclass(frozen=True)
class Metrics:
    """Of one run, in units of q·k: at each distance the mean |q·k| and the mean of its bound, over so many pairs."""

    pairs: int
    distances: tuple[int, ...]
    scores: tuple[float, ...]
    bounds: tuple[float, ...]


@dataclass(frozen=True)
class Decay:
    """Means over seeds."""

    distances: tuple[int, ...]
    scores: tuple[float, ...]
    bounds: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    encodings: dict[str, Decay]


@SECTIONS.register("long_term_decay")
class LongTermDecay(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "The paper’s bound on long-term decay"
    place = 810

    def summarize(self, records: Records) -> Summary | None:
        found = {
            label: _mean(list(by_seed.values()))
            for label, by_seed in records.by_encoding(Metrics).items()
            if next(iter(by_seed.values())).distances
        }
        return Summary(found) if found else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        decay = next(iter(summary.encodings.values()))
        ends = (
            f"{name} {fixed(curve[-1] / curve[0], 2)}"
            for name, curve in (("scores", decay.scores), ("bounds", decay.bounds))
        )
        yield Figure(
            "long_term_decay",
            "Long-term decay: measured vs. bound.",
            "Queries and keys of test rows, all heads and layers of a trained RoPE model: the mean of |q·k| had they "
            "stood at each distance, and the mean of its bound by eq. 37, both relative to distance 0. (In absolute "
            "terms the bound is never below.)",
            f"Line chart of shares of the value at distance 0; at {decay.distances[-1]}: {', '.join(ends)}.",
            partial(draw, decay),
        )


def _mean(metrics: list[Metrics]) -> Decay:
    scores, bounds = (
        np.mean([getattr(each, name) for each in metrics], axis=0).tolist() for name in ("scores", "bounds")
    )
    return Decay(metrics[0].distances, tuple(scores), tuple(bounds))


@themed
def draw(decay: Decay, width: int) -> figure.Figure:
    """What eq. 37 bounds, in a trained model, and the bound, each relative to its value at distance 0."""
    curves = {"|q·k|, measured": decay.scores, "its bound": decay.bounds}
    left, right = 52, 36 + text_width(list(curves), width)
    drawn, axes = new_axes(width, 320 if width >= 600 else 270, left=left, right=right, bottom=50, top=14)
    ends = []
    for (label, curve), color, dash in zip(curves.items(), COLORS, ("-", (0, (5, 2))), strict=False):
        share = np.array(curve) / curve[0]
        axes.plot(decay.distances, share, color=color, ls=dash)
        ends.append(LineEnd(decay.distances[-1], share[-1], label, color))
    axes.set(xlabel="Relative distance (tokens)", ylabel="Relative to distance 0")
    axes.set(xlim=(0, decay.distances[-1]), ylim=(0, None))
    label_line_ends(axes, ends, gap=17)
    return drawn
