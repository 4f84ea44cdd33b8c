"""Test loss of language models at their training length, and its difference to the reference."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from matplotlib import figure

from roformer.report.blocks import Block, Tile
from roformer.report.canvas import shorten, themed
from roformer.report.charts import Row, dot_chart
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
    is_paired,
    no_clear_difference,
    no_pair,
    no_reference,
    primary,
    rows_caption,
    size,
    tile,
)
from roformer.results.bootstrap import Bounds, DocumentLosses, two_way_bounds
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, holm, interval, is_bimodal, paired_by_seed
from roformer.results.records import Records
from roformer.sections.section import SECTIONS, Section

FAMILY = "language_modeling"
_OVER_BOTH = ("Loss: CI over seeds and documents", "Δ: CI over seeds and documents")
_DOCUMENTS = (
    "CI over seeds and documents: for other seeds and other test documents of this kind, by a two-way bootstrap; with "
    "few seeds it is too narrow. "
)
MARK = "\u2020"  # a dagger
MARGIN = 0.25  # nats below the loss without positions, from which on an encoding uses word order


@dataclass(frozen=True)
class Metrics:
    """Of one run: loss in nats per predicted token, accuracy at these tokens, and what one of them is."""

    loss: float
    accuracy: float
    predicted_tokens: int
    parameters: int
    title: str
    unit: str
    per_document: DocumentLosses


@dataclass(frozen=True)
class Encoding:
    """Intervals over seeds, and ``..._bounds`` over seeds and test documents, where these were stored."""

    parameters: int
    loss: Interval
    accuracy: Interval
    difference: Difference | None
    loss_bounds: Bounds | None
    difference_bounds: Bounds | None


@dataclass(frozen=True)
class Summary:
    """Loss of each encoding, in nats per ``unit`` of the task of this ``title``, and its paired difference to the
    reference."""

    title: str
    unit: str
    encodings: dict[str, Encoding]

    def ignores_order(self, name: str) -> bool:
        """Returns whether an encoding has hardly begun to use word order: its loss is less than 0.25 nats below that
        of no positions. Only of models that see both sides: a causal model finds positions without an encoding."""
        floor = self.encodings.get("none")
        if name == "none" or floor is None or self.unit != "masked token":
            return False
        return self.encodings[name].loss.mean > floor.loss.mean - MARGIN


@SECTIONS.register("lm_loss")
class LanguageModelLoss(Section[Summary]):
    version = 3
    summary = Summary
    family = FAMILY
    heading = "Language modeling"
    place = 100

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        losses = {label: {seed: each.loss for seed, each in by_seed.items()} for label, by_seed in runs.items()}
        reference = losses.get(records.reference, {})
        differences = holm(
            {
                label: paired_by_seed(by_seed, reference) if label != records.reference else None
                for label, by_seed in losses.items()
            }
        )
        first = next(iter(runs[min(runs)].values()))
        documents = {label: {n: each.per_document for n, each in by_seed.items()} for label, by_seed in runs.items()}
        return Summary(
            first.title,
            first.unit,
            {
                label: Encoding(
                    next(iter(by_seed.values())).parameters,
                    interval(list(losses[label].values())),
                    interval([each.accuracy for each in by_seed.values()]),
                    differences[label],
                    two_way_bounds(documents[label]),
                    two_way_bounds(documents[label], documents[records.reference]) if differences[label] else None,
                )
                for label, by_seed in runs.items()
            },
        )

    def ranking(self, summary: Summary) -> Mapping[str, float]:
        return {label: each.loss.mean for label, each in summary.encodings.items()}

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        values = (f"{display_name(n)} {with_interval(e.loss, 3)}" for n, e in _ordered(summary, comparison).items())
        yield Figure(
            "ranking",
            "Test loss of every encoding.",
            f"Large dots: mean. {rows_caption(each.loss for each in summary.encodings.values())}",
            f"Dot chart of the test loss in nats: {'; '.join(values)}.",
            partial(ranking, summary, comparison),
        )
        yield table(summary, comparison)

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        return [_headline(summary, comparison), *_conclusion(summary, comparison)]

    def tiles(self, summary: Summary, comparison: Comparison) -> list[Tile]:
        names = list(_ordered(summary, comparison))
        tiles = [tile(summary.encodings[names[0]].loss, f"test loss in nats, {display_name(names[0])}", 3)]
        other = summary.encodings.get(baseline(names))
        if other and other.difference:
            label = f"nats, {display_name(baseline(names))} minus {display_name(names[0])}"
            tiles.append(tile(other.difference, label, 3, signed=True))
        return tiles

    def limitations(self, summary: Summary, comparison: Comparison) -> list[str]:
        settings = comparison.settings(FAMILY)
        if settings.get("hidden_size", 768) >= 768:
            return []
        steps = f", {settings['max_steps']:,} steps instead of 100,000" if settings.get("max_steps") else ""
        size = f"hidden size {settings['hidden_size']} instead of 768"
        return [f"This model is tiny compared with the paper’s: {size}{steps}."]


def table(summary: Summary, comparison: Comparison) -> Table:
    """Test loss, its paired difference to the reference, and accuracy at predicted tokens."""
    in_bits = summary.unit == "byte"
    group = comparison.group(FAMILY)
    documents = any(each.loss_bounds for each in summary.encodings.values())
    differences = [each.difference for each in summary.encodings.values()]
    tested = has_p(differences)
    rows = [
        (
            f"{display_name(name)} {MARK}" if summary.ignores_order(name) else display_name(name),
            _cell(each.loss),
            *([with_interval(each.loss, 3, scale=1 / math.log(2))] if in_bits else []),
            _cell(each.difference, signed=True),
            *([corrected(each.difference)] if tested else []),
            *([_both(each.loss_bounds), _both(each.difference_bounds, signed=True)] if documents else []),
            with_interval(each.accuracy, 1, scale=100),
            fixed(each.parameters, 0),
            str(len(each.loss.values)),
        )
        for name, each in _ordered(summary, comparison).items()
    ]
    columns = ["Encoding", "Loss (nats)", *(["Bits per byte"] if in_bits else []), delta(comparison.reference)]
    columns += [*(["p"] if tested else []), *(_OVER_BOTH if documents else ())]
    return Table(
        name="lm_loss",
        title=f"{summary.title} test loss",
        columns=(*columns, "Accuracy (%)", "Parameters", "Seeds"),
        rows=tuple(rows),
        note=f"Per {summary.unit}. {_marks(summary)}"
        f"{interval_note(each.loss for each in summary.encodings.values())} {_DOCUMENTS * documents}"
        f"{primary(differences)}",
        warnings=group.warnings if group else (),
    )


def _cell(loss: Interval | None, *, signed: bool = False) -> str:
    """Writes the mean with its interval; of seeds that fall into two groups each by itself."""
    if loss is None or not is_bimodal(loss.values):
        return with_interval(loss, 3, signed=signed)
    seeds = ", ".join(fixed(value, 3, signed=signed) for value in loss.values)
    return f"{fixed(loss.mean, 3, signed=signed)} (seeds: {seeds})"


def _both(bounds: Bounds | None, *, signed: bool = False) -> str:
    if bounds is None:
        return MISSING
    return f"[{fixed(bounds.low, 3, signed=signed)}, {fixed(bounds.high, 3, signed=signed)}]"


def _marks(summary: Summary) -> str:
    """Explains what is marked in the table."""
    marked = any(map(summary.ignores_order, summary.encodings))
    bimodal = any(is_bimodal(each.loss.values) for each in summary.encodings.values())
    return (
        f"{MARK}: has hardly begun to use word order (loss less than {MARGIN:g} nats below that of no positions). "
        * marked
        + "Seeds are listed one by one where they fall into two groups, which no interval describes. " * bimodal
    )


@themed
def ranking(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Test loss: one row per encoding with its interval, every seed as a small dot."""
    look = styles(comparison)
    rows = [
        Row(shorten(display_name(name)), each.loss, look[name].color, look[name].marker)
        for name, each in sorted(summary.encodings.items(), key=lambda item: item[1].loss.mean)
    ]
    return dot_chart(rows, width, decimals=3, scale=1, label="Test loss (nats)")


def _ordered(summary: Summary, comparison: Comparison) -> dict[str, Encoding]:
    return {name: summary.encodings[name] for name in comparison.names(FAMILY) if name in summary.encodings}


def _headline(summary: Summary, comparison: Comparison) -> str:
    encodings = _ordered(summary, comparison)
    names = list(encodings)
    subject = display_name(names[0])
    score = f"{fixed(encodings[names[0]].loss.mean, 3)} nats"
    if names[0] != comparison.reference:
        return no_reference(comparison.reference, f"the lowest test loss is {score} ({subject})")
    opponent = baseline(names)
    other, difference = display_name(opponent), encodings[opponent].difference if opponent else None
    if difference is None:
        return f"{subject} reaches a test loss of {score}; {no_pair(other)}."
    if len(difference.values) < 2:
        loss = fixed(encodings[opponent].loss.mean, 3)
        gap = fixed(abs(difference.mean), 3)
        return f"One seed, no test: test loss is {score} with {subject} and {loss} with {other}, {gap} nats apart."
    if difference.is_clear():
        side = "lower" if difference.mean > 0 else "higher"
        sentence = f"{subject} ends {size(difference)} nats {side} than {other} ({bounds(difference)})"
    else:
        sentence = no_clear_difference(subject, other, difference, "nats", 1)
    return sentence + _better_than_reference(encodings, names, opponent) + "."


def _better_than_reference(encodings: Mapping[str, Encoding], names: list[str], opponent: str) -> str:
    """Keeps a headline against the paper's baseline from hiding that a third encoding clearly beats the reference."""
    best = next((name for name in names[1:] if name != opponent), None)
    difference = encodings[best].difference if best else None
    if best is None or difference is None or difference.mean > 0 or not difference.is_clear():
        return ""
    return (
        f"; {display_name(best)} ends {size(difference)} nats lower than {display_name(names[0])} "
        f"({bounds(difference)})"
    )


def _conclusion(summary: Summary, comparison: Comparison) -> list[str]:
    others = {n: each.difference for n, each in _ordered(summary, comparison).items() if n != comparison.reference}
    if not any(map(is_paired, others.values())):
        return []
    return [f"Test loss vs. {display_name(comparison.reference)}: {sides(others)}."]


def sides(differences: Mapping[str, Difference | None]) -> str:
    """Writes "lower (better): T5 by 0.05 nats; higher (worse): ...; no clear difference: ...; not paired: ..."."""
    lower, higher = "lower (better)", "higher (worse)"
    found: dict[str, list[str]] = {lower: [], higher: [], "no clear difference": [], "not paired": []}
    for name, difference in differences.items():
        if difference is None or not is_paired(difference):
            found["not paired"].append(display_name(name))
        elif difference.is_clear():
            found[lower if difference.mean < 0 else higher].append(f"{display_name(name)} by {size(difference)} nats")
        else:
            found["no clear difference"].append(display_name(name))
    return "; ".join(f"{side}: {', '.join(names)}" for side, names in found.items() if names)
