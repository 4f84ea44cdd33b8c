"""The one number that each dataset is judged by, with each encoding at its best learning rate."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from roformer.errors import UserError
from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, corrected, display_name, fixed, with_interval
from roformer.report.table import Table
from roformer.report.wording import delta, has_p, primary
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, expected_best, holm, interval, paired_by_seed
from roformer.results.records import Record, Records
from roformer.sections.section import SECTIONS, Section

FAMILY = "downstream"


@dataclass(frozen=True)
class Metrics:
    """Of one run.

    Attributes:
        metric: its name, such as ``accuracy``.
        score: on the test split.
        loss: on the test split.
        validation: the same metric on the validation split, for a choice between runs.
        majority: the score of the most frequent training label as the answer to everything.
        predictions, labels: of each test document. With labeled parts: how many of them were found, and how many
            there are; of a question the F1 of the answer, and 1.
    """

    metric: str
    score: float
    loss: float
    validation: float
    majority: float
    predictions: tuple[float, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True)
class FloorMetrics:
    """Of one dataset: floor -> score on the test split."""

    floors: dict[str, float]


@dataclass(frozen=True)
class Encoding:
    """At the learning rate that is best on validation data: the score; and what choosing on the scores would give."""

    learning_rate: float
    score: Interval
    difference: Difference | None
    trials: int
    learning_rates: int
    best: float
    expected_best: float


@dataclass(frozen=True)
class Dataset:
    metric: str
    test_documents: int
    majority: float
    floors: dict[str, float]
    warnings: tuple[str, ...]
    encodings: dict[str, Encoding]


@dataclass(frozen=True)
class Summary:
    datasets: dict[str, Dataset]


Trials: TypeAlias = dict[float, dict[int, Metrics]]
"""Learning rate -> seed -> metrics."""


@SECTIONS.register("downstream_score")
class DownstreamScore(Section[Summary]):
    version = 3
    summary = Summary
    family = FAMILY
    heading = "Scores by dataset"
    place = 500

    def summarize(self, records: Records) -> Summary | None:
        by_data: dict[str, list[Record[Metrics]]] = defaultdict(list)
        for record in records.only(Metrics):
            by_data[str(record.run.data)].append(record)
        floors = {str(record.run.data): record.metrics.floors for record in records.only(FloorMetrics)}
        if not by_data:
            return None
        found = {data: _dataset(each, records, floors.get(data, {})) for data, each in by_data.items()}
        differences = holm(
            {(data, label): each.difference for data, part in found.items() for label, each in part.encodings.items()}
        )
        return Summary(
            {
                data: replace(
                    part,
                    encodings={
                        label: replace(each, difference=differences[data, label])
                        for label, each in part.encodings.items()
                    },
                )
                for data, part in found.items()
            }
        )

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield scores(summary, comparison)
        if _has_trials(summary):
            yield trials(summary, comparison)

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        subject = display_name(comparison.reference)
        paired = {
            f"{display_name(name)} on {data}": each.difference
            for data, part in summary.datasets.items()
            for name, each in part.encodings.items()
            if each.difference is not None and len(each.difference.values) > 1
        }
        if not paired:
            return [f"Not enough paired seeds to compare with {subject}."]
        clear = [
            f"{where} ({fixed(100 * difference.mean, 1, signed=True)} points)"
            for where, difference in paired.items()
            if difference.is_clear()
        ]
        tested = "are significant" if has_p(paired.values()) else "have an interval without zero, not corrected"
        return [f"Of {len(paired)} differences to {subject}, these {tested}: {', '.join(clear) or 'none'}."]

    def tuning(self, summary: Summary, comparison: Comparison) -> str | None:
        if not _has_trials(summary):
            return None
        return (
            "On each dataset an encoding has the learning rate that is best for it on validation data, of those that "
            "were tried; all other hyperparameters are shared, unless a warning says otherwise, and tuning them could "
            "change the result."
        )


def _dataset(records: list[Record[Metrics]], every: Records, floors: dict[str, float]) -> Dataset:
    trials = trials_of(records, every)
    best = {label: best_rate(of_rate) for label, of_rate in trials.items()}
    scores = {label: {seed: each.score for seed, each in trials[label][rate].items()} for label, rate in best.items()}
    reference, first = scores.get(every.reference), records[0].metrics
    return Dataset(
        first.metric,
        len(first.labels),
        first.majority,
        floors,
        unequal_trials(trials),
        {
            label: _encoding(
                best[label],
                trials[label],
                paired_by_seed(by_seed, reference) if reference and label != every.reference else None,
            )
            for label, by_seed in scores.items()
        },
    )


def _encoding(rate: float, trials: Trials, difference: Difference | None) -> Encoding:
    every = [[each.score for each in by_seed.values()] for by_seed in trials.values()]
    return Encoding(
        rate,
        interval([each.score for each in trials[rate].values()]),
        difference,
        sum(map(len, every)),
        len(every),
        max(max(values) for values in every),
        expected_best(every),
    )


def trials_of(records: list[Record[Metrics]], every: Records) -> dict[str, Trials]:
    """Returns label -> learning rate -> seed -> metrics of the runs on one dataset."""
    trials: dict[str, Trials] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(records, key=lambda record: (record.run.learning_rate, record.run.seed)):
        trials[every.label(record)][float(record.run.learning_rate or 0.0)][record.run.seed] = record.metrics
    return {label: trials[label] for label in sorted(trials)}


def best_rate(trials: Trials) -> float:
    """Returns the learning rate that is best on validation, on average over the seeds that all of them have.

    Raises:
        UserError: if there is no such seed.
    """
    common = set.intersection(*(set(by_seed) for by_seed in trials.values()))
    if not common:
        rates = ", ".join(f"{rate:g}" for rate in trials)
        raise UserError(f"the runs at learning rates {rates} have no seed in common; train one at all of them")
    return max(trials, key=lambda rate: float(np.mean([trials[rate][seed].validation for seed in common])))


def unequal_trials(trials: Mapping[str, Trials]) -> tuple[str, ...]:
    """Says where encodings were tried at other learning rates than others, or a rate with other seeds."""
    seeds = {
        f"{label} at {rate:g}": tuple(by_seed) for label, rates in trials.items() for rate, by_seed in rates.items()
    }
    if len({tuple(of_rate) for of_rate in trials.values()}) == 1 == len(set(seeds.values())):
        return ()
    found = "; ".join(f"{name}: {list(of_rate)}" for name, of_rate in seeds.items())
    return (f"encodings differ in the learning rates or seeds that were tried (seeds at each rate): {found}",)


def scores(summary: Summary, comparison: Comparison) -> Table:
    """What each encoding scored on each dataset, by the metric that goes with it."""
    differences = [each.difference for part in summary.datasets.values() for each in part.encodings.values()]
    tested, rows = has_p(differences), list[tuple[str, ...]]()
    for data, part in summary.datasets.items():
        for name, each in _by_score(part, comparison.reference):
            rows.append(
                (
                    *(data, part.metric, display_name(name)),
                    with_interval(each.score, 1, scale=100),
                    with_interval(each.difference, 1, scale=100, signed=True),
                    *([corrected(each.difference)] if tested else []),
                    str(len(each.score.values)),
                    f"{part.test_documents:,}",
                    f"{each.learning_rate:g}",
                )
            )
        rest = (*[MISSING] * (3 if tested else 2), f"{part.test_documents:,}", MISSING)
        for floor, score in {"majority class": part.majority, **part.floors}.items():
            rows.append((data, part.metric, f"baseline: {floor}", fixed(100 * score, 1), *rest))
    return Table(
        name="scores",
        title="Scores on the test split (of GLUE: on its development set)",
        columns=(
            *("Data", "Metric", "Encoding", "Score x 100", delta(comparison.reference, "negative")),
            *(["p"] if tested else []),
            *("Seeds", "Documents", "Learning rate"),
        ),
        rows=tuple(rows),
        note="Intervals: over seeds. Seeds share the documents, so the interval is too narrow for other documents: "
        f"with few of them by much. Baselines need no pretrained model. {primary(differences)}",
        warnings=tuple(
            f"{group.data}: {warning}"
            for group in comparison.groups
            if group.family == FAMILY
            for warning in (*summary.datasets[str(group.data)].warnings, *group.warnings)
        ),
    )


def trials(summary: Summary, comparison: Comparison) -> Table:
    """What those report who try several learning rates and choose on the scores themselves."""
    rows = [
        (
            data,
            display_name(name),
            f"{each.trials} at {each.learning_rates} rates",
            f"{each.learning_rate:g}",
            fixed(100 * each.score.mean, 1),
            fixed(100 * each.expected_best, 1),
            fixed(100 * each.best, 1),
        )
        for data, part in summary.datasets.items()
        for name, each in _by_score(part, comparison.reference)
    ]
    return Table(
        name="trials",
        title="The best of a grid",
        columns=(
            *("Data", "Encoding", "Runs", "Learning rate that validation chose", "Score x 100 there"),
            *("Expected best of one run per rate", "Best of all runs"),
        ),
        rows=tuple(rows),
        note="The scores of the table before are those of the rate that is best on the mean of the validation splits. "
        "The last two columns choose on the scores themselves, as a paper does that runs each rate once and reports "
        "the best: they are too high by what chance adds (Dodge et al. 2019, arXiv:1909.03004).",
    )


def _has_trials(summary: Summary) -> bool:
    encodings = [each for part in summary.datasets.values() for each in part.encodings.values()]
    return any(each.trials > len(each.score.values) for each in encodings)


def _by_score(part: Dataset, reference: str) -> list[tuple[str, Encoding]]:
    """Returns the encodings of a dataset, the reference first, the others by falling score."""
    return sorted(part.encodings.items(), key=lambda item: (item[0] != reference, -item[1].score.mean, item[0]))
