"""Accuracy and macro F1 of classifiers on the test documents, with the baselines that need no pretraining."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from matplotlib import figure
from numpy.typing import NDArray

from roformer.errors import UserError
from roformer.report.blocks import Block, Tile
from roformer.report.canvas import MUTED, shorten, themed
from roformer.report.charts import Row, dot_chart, wrap
from roformer.report.figure import Figure
from roformer.report.numbers import MISSING, corrected, display_name, fixed, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import (
    baseline,
    bounds,
    delta,
    has_p,
    interval_note,
    no_clear_difference,
    no_pair,
    no_reference,
    primary,
    rows_caption,
    size,
    tile,
)
from roformer.results.comparison import Comparison
from roformer.results.intervals import (
    Difference,
    Interval,
    accuracy_interval,
    holm,
    interval,
    macro_f1_interval,
    paired_difference,
)
from roformer.results.records import BySeed, Records
from roformer.sections import learning_speed
from roformer.sections.section import SECTIONS, Section

FAMILY = "classification"


@dataclass(frozen=True)
class Metrics:
    """Of one run: loss in nats, scores, and each test document's predicted and true class."""

    loss: float
    accuracy: float
    macro_f1: float
    label_names: tuple[str, ...]
    predictions: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class BaselinePredictions:
    """Of one baseline: each test document's predicted and true class."""

    predictions: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class BaselineMetrics:
    """Of one dataset: by name of the baseline."""

    baselines: dict[str, BaselinePredictions]


@dataclass(frozen=True)
class Encoding:
    accuracy: Interval
    macro_f1: Interval
    difference: Difference | None
    tokens_per_second: Interval | None


@dataclass(frozen=True)
class Baseline:
    accuracy: Interval
    macro_f1: Interval


@dataclass(frozen=True)
class Summary:
    labels: int
    test_documents: int
    encodings: dict[str, Encoding]
    baselines: dict[str, Baseline]


@SECTIONS.register("classification")
class Classification(Section[Summary]):
    version = 2
    summary = Summary
    family = FAMILY
    heading = "Classification"
    place = 400

    def summarize(self, records: Records) -> Summary | None:
        """Raises ``UserError`` if the runs have other test documents."""
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        if len({each.labels for by_seed in runs.values() for each in by_seed.values()}) > 1:
            raise UserError("classifiers with other test documents do not compare; narrow runs= to one dataset")
        reference = runs.get(records.reference, {})
        differences = holm(
            {
                label: _difference(by_seed, reference) if label != records.reference else None
                for label, by_seed in runs.items()
            }
        )
        speeds = records.by_encoding(learning_speed.Metrics)
        found = records.first(BaselineMetrics) or BaselineMetrics({})
        first = next(iter(next(iter(runs.values())).values()))
        return Summary(
            len(first.label_names),
            len(first.labels),
            {
                label: _encoding(list(by_seed.values()), differences[label], speeds.get(label, {}))
                for label, by_seed in runs.items()
            },
            {
                name: Baseline(
                    accuracy_interval(np.equal(each.labels, each.predictions)),
                    macro_f1_interval(each.labels, each.predictions),
                )
                for name, each in found.baselines.items()
            },
        )

    def ranking(self, summary: Summary) -> Mapping[str, float]:
        return {label: -each.accuracy.mean for label, each in summary.encodings.items()}

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield table(summary, comparison)
        encodings = _ordered(summary, comparison)
        values = (f"{display_name(name)} {with_interval(e.accuracy, 1, scale=100)}" for name, e in encodings.items())
        yield Figure(
            "accuracy",
            "Classification accuracy on the test documents.",
            f"Large dots: mean. {rows_caption(each.accuracy for each in encodings.values())} Open dots: baselines "
            "without pretraining or position encoding.",
            f"Dot chart of classification accuracy in percent: {'; '.join(values)}.",
            partial(accuracy, summary, comparison),
        )

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        return [*_headline(summary, comparison), *_better_baseline(summary)]

    def tiles(self, summary: Summary, comparison: Comparison) -> list[Tile]:
        name, best = next(iter(_ordered(summary, comparison).items()))
        return [tile(best.accuracy, "classification accuracy, " + display_name(name), 1, 100, " %")]


def _encoding(
    metrics: list[Metrics], difference: Difference | None, speeds: BySeed[learning_speed.Metrics]
) -> Encoding:
    if len(metrics) == 1:
        accuracy = accuracy_interval(_correct(metrics[0]))
        macro_f1 = macro_f1_interval(metrics[0].labels, metrics[0].predictions)
    else:
        accuracy = interval([each.accuracy for each in metrics])
        macro_f1 = interval([each.macro_f1 for each in metrics])
    seconds = [each.tokens_per_second for each in speeds.values()]
    return Encoding(accuracy, macro_f1, difference, interval(seconds) if seconds else None)


def _headline(summary: Summary, comparison: Comparison) -> list[str]:
    encodings = _ordered(summary, comparison)
    names = list(encodings)
    subject = display_name(names[0])
    score = f"{fixed(100 * encodings[names[0]].accuracy.mean, 1)} % of the test documents"
    if names[0] != comparison.reference:
        best = f"the best model classifies {score} correctly ({subject})"
        return [no_reference(comparison.reference, best)]
    opponent = baseline(names)
    other, difference = display_name(opponent), encodings[opponent].difference if opponent else None
    if difference is None:
        return [f"{subject} classifies {score} correctly; {no_pair(other)}."]
    if len(difference.values) < 2:
        rate = fixed(100 * encodings[opponent].accuracy.mean, 1)
        return [f"One seed, no test: {subject} classifies {score} correctly, {other} {rate} %."]
    if not difference.is_clear():
        return [no_clear_difference(subject, other, difference, "points of accuracy", 100) + "."]
    side = "more" if difference.mean < 0 else "fewer"
    return [
        f"{subject} classifies {score} correctly, {size(difference, 100)} points {side} than {other} "
        f"({bounds(difference, 100)})."
    ]


def _better_baseline(summary: Summary) -> list[str]:
    """Says which baseline without pretraining is right more often than every model."""
    name, best = max(summary.baselines.items(), key=lambda each: each[1].accuracy.mean, default=("", None))
    if best is None or best.accuracy.mean <= max(each.accuracy.mean for each in summary.encodings.values()):
        return []
    return [f"The baseline {name}, without pretraining, classifies {fixed(100 * best.accuracy.mean, 1)} % correctly."]


def _difference(runs: BySeed[Metrics], reference: BySeed[Metrics]) -> Difference | None:
    """Returns the difference in accuracy to the reference: over seeds, or with a single seed over the documents."""
    seeds = sorted(runs.keys() & reference.keys())
    if not seeds:
        return None
    pairs = [(runs[seed], reference[seed]) for seed in seeds]
    if len(pairs) > 1:
        return paired_difference([a.accuracy for a, _ in pairs], [b.accuracy for _, b in pairs])
    ((ours, theirs),) = pairs
    difference = paired_difference(_correct(ours).astype(float), _correct(theirs).astype(float))
    return replace(difference, values=(difference.mean,), over="examples", p_value=None)  # one seed: no test


def _correct(metrics: Metrics) -> NDArray[np.bool_]:
    return np.equal(metrics.labels, metrics.predictions)


def table(summary: Summary, comparison: Comparison) -> Table:
    """Test accuracy and macro F1 after fine-tuning, with the baselines below."""
    group = comparison.group(FAMILY)
    differences = [each.difference for each in summary.encodings.values()]
    tested = has_p(differences)
    rows = [
        (
            display_name(name),
            with_interval(each.accuracy, 1, scale=100),
            with_interval(each.difference, 1, scale=100, signed=True),
            *([corrected(each.difference)] if tested else []),
            with_interval(each.macro_f1, 1, scale=100),
            with_interval(each.tokens_per_second, 0),
            str(len(group.encodings[name].seeds)) if group else MISSING,
        )
        for name, each in _ordered(summary, comparison).items()
    ]
    for name, result in summary.baselines.items():
        accuracy, macro_f1 = (with_interval(each, 1, scale=100) for each in (result.accuracy, result.macro_f1))
        dashes = [MISSING] * (2 if tested else 1)
        rows.append((f"baseline: {name}", accuracy, *dashes, macro_f1, MISSING, MISSING))
    every = [each.accuracy for each in summary.encodings.values()]
    every += [each.accuracy for each in summary.baselines.values()]
    columns = ("Model", "Accuracy (%)", delta(comparison.reference, "negative"), *(["p"] if tested else []))
    return Table(
        name="classification",
        title=f"Classification of {summary.test_documents:,} test documents into {summary.labels} classes",
        columns=(*columns, "Macro F1 (%)", "Tokens/s", "Seeds"),
        rows=tuple(rows),
        note=f"Differences in percentage points. {interval_note(every)} {primary(differences)} The "
        "baselines read the same tokens of each document as the models.",
        warnings=group.warnings if group else (),
    )


@themed
def accuracy(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Classification accuracy: one row per model with its interval, the value written at the right."""
    look = styles(comparison)
    rows = [
        Row(shorten(display_name(name)), each.accuracy, look[name].color, look[name].marker)
        for name, each in _ordered(summary, comparison).items()
    ]
    for name, result in summary.baselines.items():
        rows.append(Row(wrap(name), result.accuracy, MUTED, "o", filled=False))
    return dot_chart(rows, width, decimals=1, scale=100, label="Accuracy (%)")


def _ordered(summary: Summary, comparison: Comparison) -> dict[str, Encoding]:
    return {name: summary.encodings[name] for name in comparison.names(FAMILY) if name in summary.encodings}
