"""Accuracy on synthetic documents at the training length and beyond it, by where in the document the answer lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure
from matplotlib.patches import Rectangle

from roformer.report.blocks import Block
from roformer.report.canvas import INK, new_axes, shorten, text_width, themed
from roformer.report.figure import Figure
from roformer.report.numbers import MISSING, display_name, fixed, length_label, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.results.intervals import Interval, interval
from roformer.results.records import Records
from roformer.sections.section import SECTIONS, Section

FAMILY = "classification"


@dataclass(frozen=True)
class Metrics:
    """Of one run.

    Attributes:
        cell: what the cells divide, such as the place of the answer; None where there is one cell only.
        by_length: words of a document -> accuracy in each cell.
        baselines: words of a document -> baseline -> accuracy of answers that ignore the order of the words.
    """

    cell: str | None
    by_length: dict[int, tuple[float, ...]]
    baselines: dict[int, dict[str, float]]


@dataclass(frozen=True)
class Cells:
    """Accuracy over all documents of a length, and the mean accuracy in each cell."""

    accuracy: Interval
    cells: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    cell: str | None
    baselines: dict[int, dict[str, float]]
    training_words: int
    encodings: dict[str, dict[int, Cells]]

    @property
    def lengths(self) -> list[int]:
        return sorted({length for by_length in self.encodings.values() for length in by_length})


@SECTIONS.register("synthetic")
class Synthetic(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Classification"
    place = 410

    def summarize(self, records: Records) -> Summary | None:
        measured = records.only(Metrics)
        if not measured:
            return None
        encodings = {}
        for label, by_seed in records.by_encoding(Metrics).items():
            probes = [each.by_length for each in by_seed.values()]
            lengths = [length for length in probes[0] if all(length in probe for probe in probes)]
            encodings[label] = {
                length: Cells(
                    interval([float(np.mean(probe[length])) for probe in probes]),
                    tuple(np.mean([probe[length] for probe in probes], axis=0).tolist()),
                )
                for length in lengths
            }
        first = measured[0]
        return Summary(first.metrics.cell, first.metrics.baselines, first.config["data"]["length"], encodings)

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield table(summary, comparison)
        if summary.cell:
            yield Figure(
                "synthetic_cells",
                "Accuracy by length and place.",
                f"Within each length: {summary.cell}, from the first eighth to the last.",
                "Heat map of accuracy by encoding, length and place; the table gives the means by length.",
                partial(cells, summary, comparison),
            )


def table(summary: Summary, comparison: Comparison) -> Table:
    """Accuracy on synthetic documents at the training length and beyond it."""
    lengths, rows = summary.lengths, []
    for name in comparison.names(FAMILY):
        by_length = summary.encodings.get(name, {})
        cells = (by_length.get(length) for length in lengths)
        accuracies = (with_interval(cell.accuracy, 1, scale=100) if cell else MISSING for cell in cells)
        rows.append((display_name(name), *accuracies))
    for baseline_name in next(iter(summary.baselines.values()), {}):
        shares = (summary.baselines[length][baseline_name] for length in lengths)
        rows.append((f"baseline: {baseline_name}", *(fixed(100 * share, 1) for share in shares)))
    every = [cell.accuracy for by_length in summary.encodings.values() for cell in by_length.values()]
    several = any(len(each.values) > 1 for each in every)
    spread = "Brackets: 95 % confidence interval over the seeds." if several else "One seed: no interval."
    return Table(
        name="synthetic",
        title="Accuracy (%) by length of synthetic documents",
        columns=("Encoding", *(length_label(length, summary.training_words) for length in lengths)),
        rows=tuple(rows),
        note="Over 1,024 new documents per length, in words. A dash: the model has no such positions. Baselines "
        f"ignore the order of the words. {spread}",
    )


@themed
def cells(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Accuracy as the size of a square: one row per encoding, lengths side by side, the place within each."""
    look = styles(comparison)
    names = [name for name in comparison.names(FAMILY) if summary.encodings.get(name)]
    labels, lengths = [shorten(display_name(name)) for name in names], summary.lengths
    left = 22 + text_width(labels, width)
    drawn, axes = new_axes(width, 70 + 26 * len(names), left=left, right=18, bottom=54, top=8)
    per_length = max(len(cell.cells) for name in names for cell in summary.encodings[name].values())
    for row, name in enumerate(names):
        for place, length in enumerate(lengths):
            cell = summary.encodings[name].get(length)
            for column, accuracy in enumerate(cell.cells if cell else ()):
                axes.add_patch(_square(place * (per_length + 1.5) + column, row, accuracy, look[name].color))
    middles = [place * (per_length + 1.5) + (per_length - 1) / 2 for place in range(len(lengths))]
    axes.set_xticks(middles, [length_label(length, summary.training_words) for length in lengths], color=INK)
    axes.set_xlim(-1, len(lengths) * (per_length + 1.5) - 1)
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("Length (words); filled: accuracy of 100 %" if width >= 600 else "Length (words)")
    axes.grid(visible=False)
    return drawn


def _square(x: float, y: float, share: float, color: str) -> Rectangle:
    """Returns a cell that is filled from below by ``share``."""
    return Rectangle((x - 0.4, y + 0.4 - 0.8 * share), 0.8, 0.8 * share, facecolor=color, edgecolor="none")
