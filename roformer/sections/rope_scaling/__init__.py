"""Trained RoPE models on texts longer than they were trained on, their rotations scaled without fine-tuning."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from roformer.report.blocks import Block
from roformer.report.numbers import display_name, length_label, with_interval
from roformer.report.table import Table
from roformer.report.wording import EXPLORATORY, interval_note
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, interval, paired_difference
from roformer.results.records import Records
from roformer.sections.lm_loss import FAMILY
from roformer.sections.section import SECTIONS, Section

UNSCALED = "rope"
_NAMES = {
    UNSCALED: "none",
    "rope_linear": "position interpolation",
    "rope_ntk": "NTK-aware base",
    "rope_dynamic": "dynamic NTK, factor 2",
    "rope_yarn": "YaRN",
}


@dataclass(frozen=True)
class Metrics:
    """Of one run: scaling -> tokens of a window -> loss in nats per predicted token."""

    by_scaling: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Cell:
    """Loss under a scaling, and its paired difference to no scaling (None for that itself)."""

    loss: Interval
    difference: Difference | None


@dataclass(frozen=True)
class Summary:
    """Encoding -> scaling -> tokens of a window -> loss."""

    encodings: dict[str, dict[str, dict[int, Cell]]]


@SECTIONS.register("rope_scaling")
class RopeScaling(Section[Summary]):
    version = 2
    summary = Summary
    family = FAMILY
    heading = "Beyond the training length"
    place = 210

    def summarize(self, records: Records) -> Summary | None:
        runs = {label: list(by_seed.values()) for label, by_seed in records.by_encoding(Metrics).items()}
        found = {label: _scaled(each) for label, each in runs.items() if all(metrics.by_scaling for metrics in each)}
        return Summary(found) if found else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        names = [name for name in comparison.names(FAMILY) if name in summary.encodings]
        lengths = list(next(iter(summary.encodings[names[0]].values())))
        rows = []
        for name in names:
            for scaling, cells in summary.encodings[name].items():
                label = _NAMES.get(scaling, scaling)
                row = [label if len(names) == 1 else f"{display_name(name)}: {label}"]
                for cell in (cells[length] for length in lengths):
                    row += [with_interval(cell.loss, 3), with_interval(cell.difference, 3, signed=True)]
                rows.append(tuple(row))
        trained = comparison.settings(FAMILY).get("sequence_length")
        labels = [(length_label(length, trained), f"Δ vs. none at {length}") for length in lengths]
        scalings = [cells for each in summary.encodings.values() for cells in each.values()]
        yield Table(
            name="rope_scaling",
            title="Test loss (nats) of RoPE models with context extension, no fine-tuning",
            columns=("Scaling", *chain(*labels)),
            rows=tuple(rows),
            note="Each scaling is set to the length of its column; the texts and the predicted tokens are those of "
            f"the extrapolation table. Negative differences favor the scaling. {EXPLORATORY} "
            f"{interval_note(cell.loss for cells in scalings for cell in cells.values())}",
        )


def _scaled(metrics: list[Metrics]) -> dict[str, dict[int, Cell]]:
    """Returns scaling -> length -> loss and difference, at the lengths that all seeds were measured at."""
    lengths = [n for n in metrics[0].by_scaling[UNSCALED] if all(n in each.by_scaling[UNSCALED] for each in metrics)]
    table: dict[str, dict[int, Cell]] = {}
    for scaling in metrics[0].by_scaling:
        table[scaling] = {}
        for length in lengths:
            losses, plain = ([each.by_scaling[name][length] for each in metrics] for name in (scaling, UNSCALED))
            difference = paired_difference(losses, plain) if scaling != UNSCALED else None
            table[scaling][length] = Cell(interval(losses), difference)
    return table
