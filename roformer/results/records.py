"""What was measured on runs: one record per results file, and the records of one family of tasks together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

M = TypeVar("M")

Settings: TypeAlias = Mapping[str, Any]
"""What ``config.yaml`` or ``provenance.json`` of a run says: nested plain JSON."""


@dataclass(frozen=True)
class RunInfo:
    """What distinguishes the runs of a comparison.

    Attributes:
        name: of the run's folder.
        task: its registry name.
        family: the family of tasks whose results compare.
        data: the name of the dataset, where one comparison may hold several; else None.
        learning_rate: where the comparison chooses one per encoding; else None.
        position: settings of the encoding.
        seed: of the run.
        is_random_start: whether it was fine-tuned without a pretrained model.
    """

    name: str
    task: str
    family: str
    data: str | None
    learning_rate: float | None
    position: Settings
    seed: int
    is_random_start: bool = False


@dataclass(frozen=True)
class Record(Generic[M]):
    """The content of one results file.

    Attributes:
        run: which run it is about.
        metrics: what was measured.
        config: the run's configuration.
        trained: the run's provenance.
    """

    run: RunInfo
    metrics: M
    config: Settings
    trained: Settings


BySeed: TypeAlias = dict[int, M]
"""seed -> metrics of one encoding."""


@dataclass(frozen=True)
class Records:
    """The records of one family of tasks.

    Attributes:
        reference: label of the encoding that the others are compared with.
        labels: run's name -> label of its encoding.
        records: all of them.
    """

    reference: str
    labels: Mapping[str, str]
    records: Sequence[Record[Any]]

    def __iter__(self) -> Iterator[Record[Any]]:
        return iter(self.records)

    def label(self, record: Record[Any]) -> str:
        """Returns the label of the encoding that a record is about."""
        return self.labels[record.run.name]

    def only(self, kind: type[M]) -> list[Record[M]]:
        """Returns the records whose metrics are of one kind."""
        return [record for record in self.records if isinstance(record.metrics, kind)]

    def by_encoding(self, kind: type[M]) -> dict[str, BySeed[M]]:
        """Returns label -> seed -> metrics of one kind; both sorted, without labels that have none."""
        found: dict[str, BySeed[M]] = defaultdict(dict)
        for record in self.only(kind):
            found[self.label(record)][record.run.seed] = record.metrics
        return {label: dict(sorted(found[label].items())) for label in sorted(found)}

    def of_one_encoding(self, kind: type[M]) -> tuple[str, BySeed[M]] | None:
        """Returns label and metrics of the encoding that stands for all where one is shown: the reference, else the
        first; None where nothing of the kind was measured."""
        found = self.by_encoding(kind)
        label = self.reference if self.reference in found else next(iter(found), None)
        return None if label is None else (label, found[label])

    def first(self, kind: type[M]) -> M | None:
        """Returns metrics of one kind, of any run; None where nothing of the kind was measured."""
        return next((record.metrics for record in self.only(kind)), None)
