"""How soon an encoding and the reference reach fixed validation losses: a race as a curve over its targets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure

from roformer.report.blocks import Block, Tile
from roformer.report.canvas import MUTED, PAGE, LineEnd, label_line_ends, themed
from roformer.report.charts import line_axes
from roformer.report.figure import Figure
from roformer.report.numbers import TIMES, display_name, fixed, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import EXPLORATORY, baseline, tile
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, crossing, interval, paired_ratio
from roformer.results.records import BySeed, Records
from roformer.sections.learning_speed import FAMILY, Metrics
from roformer.sections.section import SECTIONS, Section

SPACING = 0.5  # nats between two targets
BELOW_FLOOR = 0.5  # nats that a target lies below the loss without positions


@dataclass(frozen=True)
class StepsToTarget:
    """How soon an encoding and the reference reach a validation loss, in nats."""

    target_loss: float
    steps: Interval
    reference_steps: Interval
    tokens: Interval
    ratio: Difference


@dataclass(frozen=True)
class Summary:
    """Of each encoding the targets, from the highest down.

    Attributes:
        floor: the lowest validation loss without positions, mean over seeds; None without such runs.
    """

    floor: float | None
    encodings: dict[str, tuple[StepsToTarget, ...]]


@SECTIONS.register("steps_to_target")
class StepsToTargets(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Learning speed"
    place = 130

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        reference = runs.get(records.reference, {})
        lowest = [min(each.validation_loss, default=math.inf) for each in runs.get("none", {}).values()]
        floor = float(np.mean(lowest)) if lowest and max(lowest) < math.inf else None
        found = {
            label: steps_to_targets(by_seed, reference, floor)
            for label, by_seed in runs.items()
            if label != records.reference
        }
        return Summary(floor, found) if any(found.values()) else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        yield table(summary, comparison)
        yield Figure(
            "steps_to_target",
            "Steps to a validation loss, relative to the reference, by target.",
            "One point per target, the highest at the left; bars: 95 % CI over seeds.",
            "Line chart of the ratio of steps against the target; the table gives its values.",
            partial(ratio_curves, summary, comparison),
        )

    def tiles(self, summary: Summary, comparison: Comparison) -> list[Tile]:
        race, names = _headline_race(summary, comparison), comparison.names(FAMILY)
        if race is None:
            return []
        others = f"{display_name(baseline(names))} vs. {display_name(names[0])}"
        return [tile(race.ratio, f"the steps to a validation loss of {race.target_loss:g}, {others}", 2, unit=TIMES)]

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        race = _headline_race(summary, comparison)
        if race is None or not race.ratio.is_clear(1.0):
            return []
        subject = display_name(comparison.reference)
        other = display_name(baseline(comparison.names(FAMILY)))
        ratio = with_interval(race.ratio, 2, unit=TIMES)
        return [f"To a validation loss of {race.target_loss:g}, {other} needs {ratio} the steps of {subject}."]


def steps_to_targets(
    runs: BySeed[Metrics], reference: BySeed[Metrics], floor: float | None
) -> tuple[StepsToTarget, ...]:
    """Returns how soon an encoding and the reference reach each multiple of 0.5 nats that all their runs cross, over
    the seeds that both have, from the highest down.

    A model without positions gets down to the ``floor`` with word frequencies alone. How soon that is learned says
    nothing about positions, so targets lie 0.5 nats or more below it.
    """
    seeds = sorted(runs.keys() & reference.keys())
    curves = [(runs[seed], reference[seed]) for seed in seeds]
    flat = [curve.validation_loss for pair in curves for curve in pair]
    if not flat or not all(flat):
        return ()
    highest = min(min(losses[0] for losses in flat), math.inf if floor is None else floor - BELOW_FLOOR)
    lowest = max(min(losses) for losses in flat)
    numbers = range(math.floor(highest / SPACING), math.ceil(lowest / SPACING) - 1, -1)
    return tuple(_steps_to_target(curves, SPACING * number) for number in numbers)


def _steps_to_target(curves: Sequence[tuple[Metrics, Metrics]], target: float) -> StepsToTarget:
    """Returns how soon each pair of curves, all of which cross the target, reaches it."""
    steps = [crossing(ours.steps, ours.validation_loss, target) for ours, _ in curves]
    tokens = [crossing(ours.tokens, ours.validation_loss, target) for ours, _ in curves]
    theirs = [crossing(other.steps, other.validation_loss, target) for _, other in curves]
    return StepsToTarget(target, interval(steps), interval(theirs), interval(tokens), paired_ratio(steps, theirs))


def table(summary: Summary, comparison: Comparison) -> Table:
    """How soon each encoding and the reference reach fixed losses."""
    reference = display_name(comparison.reference)
    rows = [
        (
            display_name(name),
            f"{race.target_loss:.3g}" if race.target_loss % SPACING == 0 else fixed(race.target_loss, 3),
            with_interval(race.steps, 0),
            with_interval(race.reference_steps, 0),
            with_interval(race.ratio, 2, unit=TIMES),
            with_interval(race.tokens, 2, scale=1e-6),
        )
        for name in comparison.names(FAMILY)
        for race in summary.encodings.get(name, ())
    ]
    floor = (
        f"Targets lie {BELOW_FLOOR:g} nats or more below {fixed(summary.floor, 3)}, the lowest validation loss "
        "without positions: above it, models learn word frequencies."
        if summary.floor is not None
        else "No model without positions was trained: near its loss, a ratio says little about positions."
    )
    return Table(
        name="steps_to_target",
        title=f"Steps to fixed validation losses, relative to {reference}",
        columns=("Encoding", "Target (nats)", "Steps", f"{reference}'s steps", "Ratio", "Tokens (millions)"),
        rows=tuple(rows),
        note=f"{EXPLORATORY} Steps between two evaluations are interpolated. Ratio: geometric mean over seeds "
        "(without brackets: of one seed, or of mean curves); it depends on the target and on the learning-rate "
        f"schedule. {floor}",
    )


@themed
def ratio_curves(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Ratio of steps to a target against the target, one line per encoding."""
    look = styles(comparison)
    names = [name for name in comparison.names(FAMILY) if summary.encodings.get(name)]
    drawn, axes, labels = line_axes(names, width)
    ends = []
    for name, label in zip(names, labels, strict=True):
        races, style = summary.encodings[name], look[name]
        x, y = [race.target_loss for race in races], [race.ratio.mean for race in races]
        axes.plot(x, y, color=style.color, ls=style.dash, marker=style.marker, ms=6, mec=PAGE, mew=0.8)
        for race in races:
            if race.ratio.has_bounds:
                bounds = [race.ratio.low, race.ratio.high]
                axes.plot([race.target_loss] * 2, bounds, color=style.color, lw=1.6)
        ends.append(LineEnd(x[-1], y[-1], label, style.color))
    axes.axhline(1, color=MUTED, lw=1, ls=(0, (1, 2)))
    axes.invert_xaxis()
    axes.set(xlabel="Target: validation loss (nats)", ylabel=f"Steps relative to {display_name(comparison.reference)}")
    label_line_ends(axes, ends, gap=17)
    return drawn


def _headline_race(summary: Summary, comparison: Comparison) -> StepsToTarget | None:
    """Returns the race of the baseline to the lowest target; None where no floor says that it is about positions."""
    races = summary.encodings.get(baseline(comparison.names(FAMILY)))
    return races[-1] if races and summary.floor is not None else None
