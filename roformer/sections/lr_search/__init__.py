"""What each encoding's learning rate was chosen from, where training searched for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, display_name, fixed
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.results.records import Records
from roformer.sections.section import SECTIONS, Section

FAMILY = "language_modeling"


@dataclass(frozen=True)
class Search:
    """Pairs of learning rate and validation loss (None where training diverged), and the rate that was selected."""

    grid: tuple[tuple[float, float | None], ...]
    selected: float


@dataclass(frozen=True)
class Summary:
    encodings: dict[str, Search]


@SECTIONS.register("lr_search")
class LearningRateSearch(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Language modeling"
    place = 105

    def summarize(self, records: Records) -> Summary | None:
        found = {
            records.label(record): Search(
                tuple((rate, loss) for rate, loss in record.trained["learning_rate_grid"]),
                record.config["optimizer"]["learning_rate"],
            )
            for record in records
            if record.trained.get("learning_rate_grid")
        }
        return Summary(found) if found else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        rates = sorted({rate for each in summary.encodings.values() for rate, _ in each.grid})
        rows = []
        for name in (name for name in comparison.names(FAMILY) if name in summary.encodings):
            search = summary.encodings[name]
            cells = {rate: "diverged" if loss is None else fixed(loss, 3) for rate, loss in search.grid}
            cells[search.selected] += " (selected)"
            rows.append((display_name(name), *(cells.get(rate, MISSING) for rate in rates)))
        yield Table(
            name="learning_rates",
            title="Validation loss by learning rate; the best is selected",
            columns=("Encoding", *(f"{rate:g}" for rate in rates)),
            rows=tuple(rows),
            note="Each at the full budget. Test data play no part in the choice.",
        )

    def tuning(self, summary: Summary, comparison: Comparison) -> str:
        names = comparison.names(FAMILY)
        searched = [display_name(name) for name in names if name in summary.encodings]
        subject = "each encoding has" if len(searched) == len(names) else f"{', '.join(searched)} have"
        return (
            f"In pretraining {subject} the learning rate that a shared grid found best, on validation data; all other "
            "hyperparameters are shared, unless a warning says otherwise, and tuning them could change the result."
        )
