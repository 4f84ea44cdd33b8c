"""Which kinds of entities a tagger finds: precision, recall and F1 of each, for one encoding.

Source: Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050, section 2.3 (CoNLL-2003).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from roformer.report.blocks import Block
from roformer.report.numbers import display_name, with_interval
from roformer.report.table import Table
from roformer.report.wording import interval_note
from roformer.results.comparison import Comparison
from roformer.results.intervals import Interval, interval
from roformer.results.records import Record, Records
from roformer.sections import downstream_score
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Counts:
    """Entities of one kind in the test split: that the model has right, that it names, and that there are."""

    right: int
    predicted: int
    total: int


@dataclass(frozen=True)
class Metrics:
    """Of one run: counts by kind of entity."""

    kinds: dict[str, Counts]


@dataclass(frozen=True)
class Kind:
    """Over seeds; from 0 to 1."""

    precision: Interval
    recall: Interval
    f1: Interval
    total: int


@dataclass(frozen=True)
class Dataset:
    """Of one encoding at its best learning rate."""

    encoding: str
    kinds: dict[str, Kind]


@dataclass(frozen=True)
class Summary:
    datasets: dict[str, Dataset]


@SECTIONS.register("entity_kinds")
class EntityKinds(Section[Summary]):
    summary = Summary
    family = downstream_score.FAMILY
    heading = "Scores by dataset"
    place = 510

    def summarize(self, records: Records) -> Summary | None:
        by_data: dict[str, list[Record[Metrics]]] = defaultdict(list)
        for record in records.only(Metrics):
            by_data[str(record.run.data)].append(record)
        return Summary({data: _dataset(data, each, records) for data, each in by_data.items()}) if by_data else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        for data, part in summary.datasets.items():
            yield Table(
                name="entity_kinds" if len(summary.datasets) == 1 else f"entity_kinds_{data}",
                title=f"Entities of {data} by kind, {display_name(part.encoding)}",
                columns=("Kind", "Precision (%)", "Recall (%)", "F1 (%)", "In the test split"),
                rows=tuple(
                    (
                        name,
                        *(with_interval(each, 1, scale=100) for each in (kind.precision, kind.recall, kind.f1)),
                        f"{kind.total:,}",
                    )
                    for name, kind in part.kinds.items()
                ),
                note="An entity is right if kind, start and end are. "
                f"{interval_note([kind.f1 for kind in part.kinds.values()])}",
            )


def _dataset(data: str, records: list[Record[Metrics]], every: Records) -> Dataset:
    labels = {every.label(record) for record in records}
    label = every.reference if every.reference in labels else min(labels)
    scored = [record for record in every.only(downstream_score.Metrics) if str(record.run.data) == data]
    rate = downstream_score.best_rate(downstream_score.trials_of(scored, every)[label])
    chosen = [
        record.metrics.kinds
        for record in records
        if every.label(record) == label and float(record.run.learning_rate or 0.0) == rate
    ]
    names = sorted({name for kinds in chosen for name in kinds})
    return Dataset(label, {name: _kind([kinds.get(name, Counts(0, 0, 0)) for kinds in chosen]) for name in names})


def _kind(runs: Sequence[Counts]) -> Kind:
    return Kind(
        interval([each.right / max(1, each.predicted) for each in runs]),
        interval([each.right / max(1, each.total) for each in runs]),
        interval([2 * each.right / max(1, each.predicted + each.total) for each in runs]),
        max(each.total for each in runs),
    )
