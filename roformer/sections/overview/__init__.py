"""The table that a reader should see first: losses of the same tokens at every length, their floor, and costs."""

from collections.abc import Iterator

from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, display_name, fixed, length_label, with_interval
from roformer.report.table import Table
from roformer.report.wording import delta, interval_note
from roformer.results.comparison import Comparison
from roformer.results.intervals import Interval, paired_difference
from roformer.sections import learning_speed, length_extrapolation, lm_loss
from roformer.sections.section import SECTIONS, Nothing, Section


@SECTIONS.register("overview")
class Overview(Section[Nothing]):
    """Only where losses were measured at more than one length: else the table of test losses says all."""

    heading = "Overview"
    place = 10

    def render(self, summary: Nothing, comparison: Comparison) -> Iterator[Block]:
        losses, lengths = comparison.get(lm_loss.Summary), comparison.get(length_extrapolation.Summary)
        trained = comparison.settings(lm_loss.FAMILY).get("sequence_length")
        if losses and lengths and trained in lengths.lengths and len(lengths.lengths) > 1:
            yield table(losses, lengths, comparison, trained)


def table(
    losses: lm_loss.Summary, lengths: length_extrapolation.Summary, comparison: Comparison, trained: int
) -> Table:
    """Loss at the training length, its difference to the reference, changes with the length, and costs."""
    longer = [length for length in lengths.lengths if length > trained]
    names = [name for name in comparison.names(lm_loss.FAMILY) if name in losses.encodings]
    rows = []
    for name in names:
        each = lengths.encodings[name]
        changes = (_change(each, trained, length) for length in longer)
        rows.append(
            (
                _label(name, losses),
                with_interval(each.loss_by_length.get(trained), 3),
                with_interval(each.differences_by_length.get(trained), 3, signed=True),
                *(with_interval(change, 3, signed=True) for change in changes),
                fixed(losses.encodings[name].parameters, 0),
                _minutes(name, comparison),
            )
        )
    floor = (
        ""
        if "none" in names
        else "No model without positions was trained, so it is unknown which encodings use word order. "
    )
    marked = any(map(losses.ignores_order, names))
    mark = f"{lm_loss.MARK}: has hardly begun to use word order (see the table of test losses). " * marked
    return Table(
        name="overview",
        title="Loss (nats) of the same tokens at the training length, and its change in longer windows",
        columns=(
            *("Encoding", f"Loss at {trained}", delta(comparison.reference)),
            *(length_label(length, trained) for length in longer),
            *("Parameters", "Minutes per run"),
        ),
        rows=tuple(rows),
        note=f"The same tokens of {lengths.windows} documents at every length; columns of longer windows: change "
        f"against {trained} tokens, paired by seed (positive: worse than at {trained}). {floor}{mark}"
        f"{interval_note(loss for name in names for loss in lengths.encodings[name].loss_by_length.values())}",
    )


def _label(name: str, losses: lm_loss.Summary) -> str:
    if name == "none":
        return f"{display_name(name)} (floor: no word order)" if losses.unit == "masked token" else display_name(name)
    return f"{display_name(name)} {lm_loss.MARK}" if losses.ignores_order(name) else display_name(name)


def _change(encoding: length_extrapolation.Encoding, trained: int, length: int) -> Interval | None:
    """Returns the change of the loss from the training length to another; None where one was not measured."""
    losses = encoding.loss_by_length
    if trained not in losses or length not in losses:
        return None
    return paired_difference(losses[length].values, losses[trained].values)


def _minutes(name: str, comparison: Comparison) -> str:
    """Returns the minutes of training of a run, without evaluations: its tokens at its mean speed."""
    speeds = comparison.get(learning_speed.Summary)
    each = speeds.encodings.get(name) if speeds else None
    if each is None or not each.curve.tokens:
        return MISSING
    return fixed(each.curve.tokens[-1] / each.tokens_per_second.mean / 60, 1)
