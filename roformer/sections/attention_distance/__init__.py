"""How far each head looks: the mean distance between a token and what it attends to."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure

from roformer.report.blocks import Block
from roformer.report.canvas import MUTED, PAGE, new_axes, shorten, text_width, themed
from roformer.report.figure import Figure
from roformer.report.numbers import display_name
from roformer.report.styles import styles
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections.lm_loss import FAMILY
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Metrics:
    """Of one run: mean distance in tokens, (layers, heads), over so many rows; ``uniform`` is that of a head that
    attends to all tokens equally."""

    rows: int
    tokens: tuple[tuple[float, ...], ...]
    uniform: float


@dataclass(frozen=True)
class Summary:
    """Encoding -> (layers, heads) mean distance in tokens over seeds, heads sorted; and that of uniform attention."""

    uniform: float | None
    encodings: dict[str, tuple[tuple[float, ...], ...]]


@SECTIONS.register("attention_distance")
class AttentionDistance(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Attention"
    place = 300

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        found = {}
        for label, by_seed in runs.items():
            # sorted: heads of two seeds do not correspond
            mean = np.mean([np.sort(each.tokens, axis=-1) for each in by_seed.values()], axis=0).tolist()
            if mean:
                found[label] = tuple(map(tuple, mean))
        first = next((metrics for by_seed in runs.values() for metrics in by_seed.values()), None)
        return Summary(first.uniform, found) if first and found else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield Figure(
            "attention_distance",
            "Mean attention distance per head.",
            "One row per layer, the first at the top; one dot per head, sorted by distance, mean over seeds: the mean "
            "distance, in tokens, between a token and what it attends to at the training length. Dotted line: uniform "
            "attention.",
            "Dot chart of the mean attention distance of every head, by encoding and layer.",
            partial(draw, summary, comparison),
        )


@themed
def draw(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Mean attention distance: one dot per head, one row per layer, the layers of an encoding next to each other."""
    look = styles(comparison)
    names = [name for name in comparison.names(FAMILY) if name in summary.encodings]
    labels = [shorten(display_name(name)) for name in names]
    layers = sum(len(summary.encodings[name]) for name in names)
    left = 22 + text_width(labels, width)
    drawn, axes = new_axes(width, 66 + 12 * (layers + len(names)), left=left, right=18, bottom=50, top=8)
    ticks, row = [], 0
    for name in names:
        distances = summary.encodings[name]
        ticks.append(row + (len(distances) - 1) / 2)
        for heads in distances:
            style = {"color": look[name].color, "ls": "none", "marker": look[name].marker, "ms": 6, "mec": PAGE}
            axes.plot(heads, [row] * len(heads), mew=0.6, **style)
            row += 1
        row += 1
    axes.set_yticks(ticks, labels)
    axes.set_ylim(row - 1, -1)
    if summary.uniform is not None:
        axes.axvline(summary.uniform, color=MUTED, lw=1, ls=(0, (1, 2)))
    axes.set_xlim(0, None)
    axes.set_xlabel("Mean attention distance (tokens)")
    axes.grid(visible=False, axis="y")
    return drawn
