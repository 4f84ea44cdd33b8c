"""Loss beyond the training length, on the same predicted tokens at every length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from roformer.report.blocks import Block
from roformer.report.canvas import PAGE, LineEnd, label_line_ends, plain_ticks, themed
from roformer.report.charts import line_axes
from roformer.report.figure import Figure
from roformer.report.numbers import MISSING, TIMES, display_name, fixed, length_label, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import EXPLORATORY, delta, interval_note, is_paired
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, interval, paired_difference
from roformer.results.records import BySeed, Records
from roformer.sections.lm_loss import FAMILY, sides
from roformer.sections.section import SECTIONS, Section


@dataclass(frozen=True)
class Measured:
    """Loss of the tokens that windows of one length predict, and their number."""

    loss: float
    predicted_tokens: int


@dataclass(frozen=True)
class Metrics:
    """Of one run, all in nats per predicted token.

    Attributes:
        windows: of the greatest length, one per test document that is long enough.
        by_length: tokens of a window -> loss.
        by_position: loss at the greatest length that the model takes, in each part as long as a training row.
        sliding_window_loss: with overlapping windows of the training length; None without windows.
        is_bidirectional: whether the model sees both sides of what it predicts.
        has_position_table: whether positions are rows of a table, which training reaches up to its length only.
    """

    windows: int
    by_length: dict[int, Measured]
    by_position: tuple[float, ...]
    sliding_window_loss: float | None
    is_bidirectional: bool
    has_position_table: bool


@dataclass(frozen=True)
class Encoding:
    loss_by_length: dict[int, Interval]
    loss_by_position: tuple[Interval, ...]
    sliding_window_loss: Interval | None
    differences_by_length: dict[int, Difference]
    has_position_table: bool


@dataclass(frozen=True)
class Summary:
    windows: int
    is_bidirectional: bool
    encodings: dict[str, Encoding]

    @property
    def lengths(self) -> list[int]:
        return sorted({length for each in self.encodings.values() for length in each.loss_by_length})


@SECTIONS.register("length_extrapolation")
class LengthExtrapolation(Section[Summary]):
    version = 2
    summary = Summary
    family = FAMILY
    heading = "Beyond the training length"
    place = 200

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        if not any(each.by_length for by_seed in runs.values() for each in by_seed.values()):
            return None
        reference = runs.get(records.reference, {})
        differences = {
            label: _differences(by_seed, reference) if label != records.reference else {}
            for label, by_seed in runs.items()
        }
        first = [next(iter(by_seed.values())) for by_seed in runs.values()]
        return Summary(
            max(each.windows for each in first),
            first[0].is_bidirectional,
            {label: _encoding(list(by_seed.values()), differences[label]) for label, by_seed in runs.items()},
        )

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        trained = comparison.settings(FAMILY).get("sequence_length")
        yield table(summary, comparison, trained)
        if any(each.differences_by_length for each in summary.encodings.values()):
            yield differences_table(summary, comparison, trained)
        several = any(len(i.values) > 1 for each in summary.encodings.values() for i in each.loss_by_length.values())
        yield Figure(
            "loss_by_length",
            "Test loss against sequence length.",
            f"The same tokens are predicted at each length{'; bars: 95 % CI over seeds' if several else ''}. Lower is "
            "better.",
            "Line chart of test loss against sequence length; the extrapolation table gives its values.",
            partial(loss_by_length, summary, comparison, trained),
        )
        if any(len(each.loss_by_position) > 1 for each in summary.encodings.values()):
            yield Figure(
                "loss_by_position",
                "Test loss by position in the text.",
                "In the longest windows that an encoding takes: does it fail everywhere, or only at far positions?",
                "Line chart of test loss against the position in the longest windows.",
                partial(loss_by_position, summary, comparison),
            )

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        trained = comparison.settings(FAMILY).get("sequence_length")
        others = {n: summary.encodings[n].differences_by_length for n in _names(summary, comparison)}
        others.pop(comparison.reference, None)
        longest = max((length for each in others.values() for length in each), default=0)
        differences = {name: each.get(longest) for name, each in others.items()}
        if not trained or longest <= trained or not any(map(is_paired, differences.values())):
            return []
        return [
            f"Test loss at {longest:,} tokens, {longest / trained:g}{TIMES} the training length, vs. "
            f"{display_name(comparison.reference)}: {sides(differences)}."
        ]


def common_lengths(measured: Sequence[dict[int, Measured]]) -> list[int]:
    """Returns the lengths that all seeds were measured at: a table of positions may end sooner in some."""
    return [length for length in measured[0] if all(length in each for each in measured)]


def _encoding(metrics: list[Metrics], differences: dict[int, Difference]) -> Encoding:
    lengths = common_lengths([each.by_length for each in metrics])
    same_length = len({len(each.by_position) for each in metrics}) == 1
    positions = zip(*(each.by_position for each in metrics), strict=True) if same_length else ()
    sliding = [each.sliding_window_loss for each in metrics if each.sliding_window_loss is not None]
    return Encoding(
        {length: interval([each.by_length[length].loss for each in metrics]) for length in lengths},
        tuple(interval(losses) for losses in positions),
        interval(sliding) if len(sliding) == len(metrics) else None,
        differences,
        any(each.has_position_table for each in metrics),
    )


def _differences(runs: BySeed[Metrics], reference: BySeed[Metrics]) -> dict[int, Difference]:
    """Returns length -> paired difference to the reference, over the seeds that both have, at the lengths that all of
    them take."""
    seeds = sorted(runs.keys() & reference.keys())
    ours, theirs = ([each[seed].by_length for seed in seeds] for each in (runs, reference))
    return {
        length: paired_difference([each[length].loss for each in ours], [each[length].loss for each in theirs])
        for length in (common_lengths([*ours, *theirs]) if seeds else ())
    }


def table(summary: Summary, comparison: Comparison, trained: int | None) -> Table:
    """Test loss at the training length and beyond it."""
    lengths = summary.lengths
    frame, counted = ("one of each", "middle") if summary.is_bidirectional else ("one [CLS]", "second half")
    rows = []
    for name in _names(summary, comparison):
        losses = summary.encodings[name].loss_by_length
        first, last = losses.get(lengths[0]), losses.get(lengths[-1])
        change = fixed(last.mean - first.mean, 3, signed=True) if first and last else MISSING
        cells = (with_interval(losses.get(length), 3) for length in lengths)
        sliding = with_interval(summary.encodings[name].sliding_window_loss, 3)
        rows.append((display_name(name), *cells, change, sliding))
    labels = (length_label(length, trained) for length in lengths)
    return Table(
        name="extrapolation",
        title="Test loss (nats) beyond the training length",
        columns=("Encoding", *labels, f"{lengths[0]} to {lengths[-1]}", f"{trained or lengths[0]}, sliding window"),
        rows=tuple(rows),
        note="The same tokens are predicted at each length. They differ from those of the test loss above: they are "
        f"of {summary.windows} documents that are long enough for the longest length. A length of n times the "
        f"training length has n times its tokens without [CLS] and [SEP], plus {frame}. Sliding window: windows of "
        f"the training length that overlap by half, of which the {counted} counts: a baseline that "
        f"needs no extrapolation. A dash: not measured. {_untrained(summary, comparison, trained)}{_note(summary)}",
    )


def differences_table(summary: Summary, comparison: Comparison, trained: int | None) -> Table:
    """The difference of the test loss of the same windows to the reference, at each length."""
    differences = {name: summary.encodings[name].differences_by_length for name in _names(summary, comparison)}
    lengths = sorted({length for by_length in differences.values() for length in by_length})
    return Table(
        name="beyond_reference",
        title=f"Test loss (nats) by length: {delta(comparison.reference)}",
        columns=("Encoding", *(length_label(length, trained) for length in lengths)),
        rows=tuple(
            (display_name(name), *(with_interval(by_length.get(length), 3, signed=True) for length in lengths))
            for name, by_length in differences.items()
            if name != comparison.reference
        ),
        note=f"{EXPLORATORY} {_untrained(summary, comparison, trained)}{_note(summary)}",
    )


@themed
def loss_by_length(summary: Summary, comparison: Comparison, trained: int | None, width: int) -> figure.Figure:
    """Test loss at each sequence length on a logarithmic axis, with intervals, lines slightly apart."""
    look = styles(comparison)
    names = [name for name in _names(summary, comparison) if summary.encodings[name].loss_by_length]
    drawn, axes, labels = line_axes(names, width)
    lengths, ends = summary.lengths, []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        style = look[name]
        points = sorted(summary.encodings[name].loss_by_length.items())
        x = np.array([length for length, _ in points]) * 2 ** (0.02 * (i - (len(names) - 1) / 2))
        y = [loss.mean for _, loss in points]
        axes.plot(x, y, color=style.color, ls=style.dash, marker=style.marker, ms=7, mec=PAGE, mew=1)
        for at, (_, loss) in zip(x, points, strict=True):
            if loss.has_bounds:
                axes.plot([at, at], [loss.low, loss.high], color=style.color, lw=1.6)
        if points[-1][0] == lengths[-1]:
            ends.append(LineEnd(x[-1], y[-1], label, style.color))
        else:  # it cannot be longer, or was not measured there: named where it stops
            axes.annotate(label, (x[-1], y[-1]), xytext=(10, -4), textcoords="offset points", va="top", fontsize=11.5)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: length_label(round(length), trained)))
    axes.set(xlabel="Sequence length in tokens (multiple of the training length)", ylabel="Test loss (nats)")
    if width < 600:
        axes.set_xlabel("Sequence length (tokens)")
    axes.margins(x=0.06)
    label_line_ends(axes, ends, gap=17)
    return drawn


@themed
def loss_by_position(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Test loss against the position in the longest windows, one line per encoding."""
    look = styles(comparison)
    names = [name for name in _names(summary, comparison) if len(summary.encodings[name].loss_by_position) > 1]
    drawn, axes, labels = line_axes(names, width)
    ends = []
    for name, label in zip(names, labels, strict=True):
        result, style = summary.encodings[name], look[name]
        losses = [each.mean for each in result.loss_by_position]
        x = (np.arange(len(losses)) + 0.5) * max(result.loss_by_length) / len(losses)
        axes.plot(x, losses, color=style.color, ls=style.dash, marker=style.marker, ms=5, mec=PAGE, mew=0.8)
        ends.append(LineEnd(x[-1], losses[-1], label, style.color))
    axes.set(xlabel="Position in the text (tokens)", ylabel="Test loss (nats)")
    axes.set_xlim(0, max(end.x for end in ends))
    plain_ticks(axes, width)
    label_line_ends(axes, ends, gap=17)
    return drawn


def _names(summary: Summary, comparison: Comparison) -> list[str]:
    return [name for name in comparison.names(FAMILY) if name in summary.encodings]


def _note(summary: Summary) -> str:
    return interval_note(loss for each in summary.encodings.values() for loss in each.loss_by_length.values())


def _untrained(summary: Summary, comparison: Comparison, trained: int | None) -> str:
    """Says in which encodings longer texts need weights that no training text has touched."""
    group, notes = comparison.group(FAMILY), []
    for name, each in summary.encodings.items():
        if not trained or all(length <= trained for length in each.loss_by_length):
            continue
        if each.has_position_table:
            notes.append(f"{display_name(name)}: rows beyond {trained} tokens were never trained. ")
        position = group.encodings[name].position if group else {}
        if position.get("name") == "deberta" and position["max_distance"] >= trained:
            notes.append(f"{display_name(name)}: the farthest row of one side was never trained. ")
    return "".join(notes)
