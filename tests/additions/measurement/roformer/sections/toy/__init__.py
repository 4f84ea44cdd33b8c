"""How large the vectors of tokens are after training."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from matplotlib import figure

from roformer.report.blocks import Block
from roformer.report.canvas import new_axes, themed
from roformer.report.figure import Figure
from roformer.report.numbers import display_name, fixed
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections.lm_loss import FAMILY
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Metrics:
    """Of one run: mean Euclidean length of the vectors of all tokens."""

    length: float


@dataclass(frozen=True)
class Summary:
    """Encoding -> mean over seeds."""

    encodings: dict[str, float]


@SECTIONS.register("toy")
class VectorLengths(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Toy heading"
    place = 310

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        means = {name: sum(each.length for each in runs[name].values()) / len(runs[name]) for name in runs}
        return Summary(means) if means else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        names = [name for name in comparison.names(FAMILY) if name in summary.encodings]
        rows = tuple((display_name(name), fixed(summary.encodings[name], 3)) for name in names)
        yield Table("toy", "Toy table", columns=("Encoding", "Length"), rows=rows, note="Mean over tokens and seeds.")
        yield Figure("toy", "Toy figure.", "One bar per encoding.", "Bar chart.", partial(draw, summary, names))


@themed
def draw(summary: Summary, names: list[str], width: int) -> figure.Figure:
    drawn, axes = new_axes(width, 60 + 24 * len(names), left=120, right=18, bottom=50, top=8)
    axes.barh([display_name(name) for name in names], [summary.encodings[name] for name in names])
    axes.set_xlabel("Mean length")
    return drawn
