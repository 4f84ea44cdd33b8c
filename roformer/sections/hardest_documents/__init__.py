"""The test documents on which a classifier is most wrong, with their first words; some have a wrong label."""

from collections.abc import Iterator
from dataclasses import dataclass

from roformer.report.blocks import Block
from roformer.report.numbers import display_name, fixed
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections.calibration import HardDocument, Metrics
from roformer.sections.classification import FAMILY
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Summary:
    """The documents of the highest loss, worst first, of the run of one encoding with its first seed."""

    encoding: str
    seed: int
    documents: tuple[HardDocument, ...]


@SECTIONS.register("hardest_documents")
class HardestDocuments(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Classification"
    place = 406

    def summarize(self, records: Records) -> Summary | None:
        found = records.of_one_encoding(Metrics)
        if found is None:
            return None
        label, runs = found
        seed, metrics = next(iter(runs.items()))
        return Summary(label, seed, metrics.hardest) if metrics.hardest else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield Table(
            name="hardest_documents",
            title=f"Test documents of the highest loss, {display_name(summary.encoding)}, seed {summary.seed}",
            columns=("Beginning of the document", "Number", "True class", "Predicted class", "Loss (nats)"),
            rows=tuple(
                (
                    each.excerpt,
                    str(each.number),
                    f"{each.label} ({fixed(100 * each.label_probability, 1)} %)",
                    f"{each.prediction} ({fixed(100 * each.prediction_probability, 1)} %)",
                    fixed(each.loss, 2),
                )
                for each in summary.documents
            ),
            note="In brackets: probability that the model gives the class. Number: in the test split, from 0. "
            "hardest_documents=0 omits this table and the excerpts.",
        )
