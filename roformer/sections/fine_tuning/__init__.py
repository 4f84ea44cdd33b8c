"""How fine-tuning went: the validation loss by step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib import figure

from roformer.report.blocks import Block
from roformer.report.canvas import PAGE, LineEnd, label_line_ends, plain_ticks, themed
from roformer.report.charts import line_axes
from roformer.report.figure import Figure
from roformer.report.numbers import display_name, fixed
from roformer.report.styles import styles
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections import learning_speed
from roformer.sections.classification import FAMILY
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Summary:
    """Encoding -> curve of its runs, where they have been evaluated at common steps."""

    curves: dict[str, learning_speed.Curve]


@SECTIONS.register("fine_tuning")
class FineTuning(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Classification"
    place = 408

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(learning_speed.Metrics)
        curves = {label: learning_speed.mean_curve(list(by_seed.values())) for label, by_seed in runs.items()}
        found = {label: curve for label, curve in curves.items() if curve.steps}
        return Summary(found) if found else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        names = [name for name in comparison.names(FAMILY) if name in summary.curves]
        ends = (f"{display_name(name)} ends at {fixed(summary.curves[name].mean[-1], 3)}" for name in names)
        bands = any(curve.low for curve in summary.curves.values())
        yield Figure(
            "fine_tuning",
            "Validation loss during fine-tuning.",
            f"{'Lines: mean over seeds; bands: 95 % CI.' if bands else 'One seed: no bands.'} A line that rises "
            "is one that overfits; with early stopping, the export is the best state before.",
            f"Line chart of validation loss against steps: {'; '.join(ends)}.",
            partial(curves, summary, comparison, names),
        )


@themed
def curves(summary: Summary, comparison: Comparison, names: Sequence[str], width: int) -> figure.Figure:
    """Validation loss against steps, one line per encoding with its CI band."""
    look = styles(comparison)
    drawn, axes, labels = line_axes(names, width)
    ends = []
    for name, label in zip(names, labels, strict=True):
        curve, style = summary.curves[name], look[name]
        axes.plot(
            curve.steps, curve.mean, color=style.color, ls=style.dash, marker=style.marker, ms=6.5, mec=PAGE, mew=0.8
        )
        if curve.low and curve.high:
            axes.fill_between(curve.steps, curve.low, curve.high, color=style.color, alpha=0.18, lw=0)
        ends.append(LineEnd(curve.steps[-1], curve.mean[-1], label, style.color))
    axes.set_xlim(0, max(end.x for end in ends))
    axes.set(xlabel="Steps", ylabel="Validation loss (nats)")
    plain_ticks(axes, width)
    label_line_ends(axes, ends, gap=17)
    return drawn
