"""Which classes a classifier takes for which: the confusion matrix of one encoding, summed over its seeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure
from matplotlib.patches import Rectangle
from sklearn.metrics import confusion_matrix

from roformer.report.blocks import Block
from roformer.report.canvas import INK, new_axes, shorten, text_width, themed
from roformer.report.figure import Figure
from roformer.report.numbers import MISSING, display_name, fixed
from roformer.report.styles import COLORS
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections import classification
from roformer.sections.section import SECTIONS, Section

SHOWN = 15  # classes; beyond that the rarest are one


@dataclass(frozen=True)
class Summary:
    """Counts of test documents.

    Attributes:
        encoding: label of the encoding whose classifiers they are of.
        seeds: number of its runs, over which the counts are summed.
        names: of the classes.
        counts: one row per true class, one column per predicted class.
    """

    encoding: str
    seeds: int
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@SECTIONS.register("confusion")
class Confusion(Section[Summary]):
    summary = Summary
    family = classification.FAMILY
    heading = "Classification"
    place = 402

    def summarize(self, records: Records) -> Summary | None:
        found = records.of_one_encoding(classification.Metrics)
        if found is None:
            return None
        label, runs = found
        metrics = list(runs.values())
        names = metrics[0].label_names
        classes = range(len(names))
        counts = sum(confusion_matrix(each.labels, each.predictions, labels=classes) for each in metrics)
        if len(names) > SHOWN:
            kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: SHOWN - 1])
            merged = np.full((SHOWN, len(names)), 0)
            merged[np.arange(SHOWN - 1), kept] = 1
            merged[-1, np.setdiff1d(classes, kept)] = 1
            counts = merged @ counts @ merged.T
            names = (*(names[place] for place in kept), f"{len(names) - len(kept)} rarer classes")
        return Summary(label, len(metrics), names, tuple(map(tuple, counts.tolist())))

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        name = display_name(summary.encoding)
        yield table(summary)
        yield Figure(
            "confusion",
            f"Confusion matrix of {name}.",
            "Percent of the documents of each true class. Full color: all of them.",
            f"Matrix of true and predicted classes of {name}; the table gives the counts.",
            partial(matrix, summary),
        )


def table(summary: Summary) -> Table:
    """Counts, with the recall of each class at the end of its row, and the precision at the end of its column."""
    counts = np.array(summary.counts)
    rows = [
        (name, *(f"{count:,}" for count in row), _percent(row[place], sum(row)))
        for place, (name, row) in enumerate(zip(summary.names, summary.counts, strict=True))
    ]
    precisions = (_percent(counts[place, place], counts[:, place].sum()) for place in range(len(counts)))
    rows.append(("Precision (%)", *precisions, MISSING))
    summed = f", summed over {summary.seeds} seeds" if summary.seeds > 1 else ""
    return Table(
        name="confusion",
        title=f"Test documents by true and predicted class, {display_name(summary.encoding)}",
        columns=("True class", *summary.names, "Recall (%)"),
        rows=tuple(rows),
        note=f"One row per true class, one column per predicted class{summed}.",
    )


def _percent(part: int, whole: int) -> str:
    return fixed(100 * part / whole, 1) if whole else MISSING


@themed
def matrix(summary: Summary, width: int) -> figure.Figure:
    """Shares of each true class as the strength of the color, with the percentage where there is room."""
    labels = [shorten(name) for name in summary.names]
    room = text_width(labels, width)
    count = len(labels)
    drawn, axes = new_axes(width, 52 + room + 30 * count, left=46 + room, right=18, bottom=36 + room, top=8)
    has_room = (width - 64 - room) / count > 34
    for row, of_class in enumerate(summary.counts):
        for column, documents in enumerate(of_class):
            share = documents / max(sum(of_class), 1)
            square = Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=COLORS[0], alpha=0.75 * share, edgecolor="none"
            )
            axes.add_patch(square)
            if has_room and documents:
                axes.text(column, row, fixed(100 * share, 0), ha="center", va="center", fontsize=11, color=INK)
    axes.set_xticks(range(count), labels, rotation=90)
    axes.set_yticks(range(count), labels)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.grid(visible=False)
    return drawn
