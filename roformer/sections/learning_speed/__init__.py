"""How training went: the loss by step and by time, the steps to a common loss, and training speed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from roformer.report.blocks import Block, Tile
from roformer.report.canvas import (
    INK,
    MUTED,
    PAGE,
    LineEnd,
    label_line_ends,
    new_axes,
    plain_ticks,
    shorten,
    text_width,
    themed,
)
from roformer.report.charts import line_axes
from roformer.report.figure import Figure
from roformer.report.numbers import TIMES, display_name, fixed, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import EXPLORATORY, baseline, tile
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, crossing, interval, paired_ratio
from roformer.results.records import BySeed, Records
from roformer.sections import lm_loss
from roformer.sections.section import SECTIONS, Section

FAMILY = lm_loss.FAMILY
SPACING = 0.5  # nats between two targets
BELOW_FLOOR = 0.5  # nats that a target lies below the loss without positions


@dataclass(frozen=True)
class Metrics:
    """Of one run: validation loss at each evaluation, and the median of the logged tokens per second.

    The seconds are those of training alone, without evaluations and checkpoints.
    """

    steps: tuple[int, ...]
    tokens: tuple[float, ...]
    seconds: tuple[float, ...]
    validation_loss: tuple[float, ...]
    tokens_per_second: float


@dataclass(frozen=True)
class Curve:
    """The mean curve over seeds, with bounds where there are several, at the steps that all have."""

    steps: tuple[int, ...]
    tokens: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None


@dataclass(frozen=True)
class StepsToTarget:
    """How soon an encoding and the reference reach a validation loss, in nats."""

    target_loss: float
    steps: Interval
    reference_steps: Interval
    tokens: Interval
    ratio: Difference


@dataclass(frozen=True)
class Encoding:
    tokens_per_second: Interval
    curve: Curve
    steps_to_target: tuple[StepsToTarget, ...]
    loss_at_equal_wall_time: Interval | None


@dataclass(frozen=True)
class Summary:
    """Curves and speeds of each encoding.

    Attributes:
        equal_wall_time: seconds after which the fastest run of all had ended.
        floor: the lowest validation loss of the model without positions, mean over seeds; None without such runs.
    """

    equal_wall_time: float | None
    floor: float | None
    encodings: dict[str, Encoding]


@SECTIONS.register("learning_speed")
class LearningSpeed(Section[Summary]):
    version = 2
    summary = Summary
    family = FAMILY
    heading = "Learning speed"
    place = 120

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        reference = runs.get(records.reference, {})
        lowest = [min(each.validation_loss, default=math.inf) for each in runs.get("none", {}).values()]
        floor = float(np.mean(lowest)) if lowest and max(lowest) < math.inf else None
        seconds, reached = at_equal_wall_time(runs)
        return Summary(
            seconds,
            floor,
            {
                label: Encoding(
                    interval([each.tokens_per_second for each in by_seed.values()]),
                    mean_curve(list(by_seed.values())),
                    steps_to_targets(by_seed, reference, floor) if label != records.reference else (),
                    reached[label],
                )
                for label, by_seed in runs.items()
            },
        )

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        if names := _with_curve(summary, comparison):
            curves = ((name, summary.encodings[name].curve) for name in names)
            ends = (f"{display_name(name)} ends at {fixed(curve.mean[-1], 3)}" for name, curve in curves)
            bands = any(each.curve.low for each in summary.encodings.values())
            floor = " Dotted: the floor, the lowest loss without positions." if summary.floor is not None else ""
            yield Figure(
                "loss_curves",
                "Validation loss during training.",
                f"{'Lines: mean over seeds; bands: 95 % CI.' if bands else 'One seed: no bands.'}{floor}",
                f"Line chart of validation loss against steps: {'; '.join(ends)}.",
                partial(loss_curves, summary, comparison),
            )
        if any(each.steps_to_target for each in summary.encodings.values()):
            yield targets_table(summary, comparison)
            yield Figure(
                "steps_to_target",
                "Steps to a validation loss, relative to the reference, by target.",
                "One point per target, the highest at the left; bars: 95 % CI over seeds.",
                "Line chart of the ratio of steps against the target; the table gives its values.",
                partial(ratio_curves, summary, comparison),
            )
        yield speed_table(summary, comparison)
        if losses := comparison.get(lm_loss.Summary):
            yield Figure(
                "cost",
                "Test loss against training speed.",
                "Down and to the right is better. Speed is that of this machine.",
                "Scatter plot of test loss against training tokens per second; the tables give both.",
                partial(cost, summary, losses, comparison),
            )

    def tiles(self, summary: Summary, comparison: Comparison) -> list[Tile]:
        names = [name for name in comparison.names(FAMILY) if name in summary.encodings]
        tiles = []
        if race := _headline_race(summary, comparison):
            others = f"{display_name(baseline(names))} vs. {display_name(names[0])}"
            label = f"the steps to a validation loss of {race.target_loss:g}, {others}"
            tiles.append(tile(race.ratio, label, 2, unit=TIMES))
        speed = summary.encodings[names[0]].tokens_per_second
        return [*tiles, tile(speed, f"training tokens/s, {display_name(names[0])}", 0)]

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


def mean_curve(curves: list[Metrics]) -> Curve:
    """Returns the mean over seeds."""
    steps = sorted(set.intersection(*(set(curve.steps) for curve in curves)))
    points = [interval([curve.validation_loss[curve.steps.index(step)] for curve in curves]) for step in steps]
    several = len(curves) > 1
    return Curve(
        tuple(steps),
        tuple(float(np.mean([c.tokens[c.steps.index(step)] for c in curves])) for step in steps),
        tuple(point.mean for point in points),
        tuple(point.low for point in points if point.low is not None) if several else None,
        tuple(point.high for point in points if point.high is not None) if several else None,
    )


def at_equal_wall_time(
    runs: Mapping[str, BySeed[Metrics]],
) -> tuple[float | None, dict[str, Interval | None]]:
    """Returns the seconds after which the fastest run of all had ended, and the loss of each encoding by then."""
    ends = [each.seconds[-1] for by_seed in runs.values() for each in by_seed.values() if each.seconds]
    if not ends:
        return None, dict.fromkeys(runs)
    reached: dict[str, Interval | None] = {}
    for label, by_seed in runs.items():
        losses = [_loss_at(each, min(ends)) for each in by_seed.values()]
        known = [loss for loss in losses if loss is not None]
        reached[label] = interval(known) if len(known) == len(losses) else None
    return min(ends), reached


def _loss_at(curve: Metrics, seconds: float) -> float | None:
    """Returns the validation loss after so many seconds of training, interpolated; None before the first and after
    the last evaluation."""
    if not curve.seconds or not curve.seconds[0] <= seconds <= curve.seconds[-1]:
        return None
    return float(np.interp(seconds, curve.seconds, curve.validation_loss))


def targets_table(summary: Summary, comparison: Comparison) -> Table:
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
        for race in summary.encodings[name].steps_to_target
    ]
    floor = (
        f"Targets lie {BELOW_FLOOR:g} nats or more below {fixed(summary.floor, 3)}, the lowest validation loss "
        "without positions: above it, models learn word frequencies."
        if summary.floor is not None
        else "No floor was measured (no runs without positions): where the target is near it, the ratio says little "
        "about positions."
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


def speed_table(summary: Summary, comparison: Comparison) -> Table:
    """How fast each encoding trains, and the loss after equal time."""
    seconds = summary.equal_wall_time
    rows = [
        (
            display_name(name),
            with_interval(summary.encodings[name].loss_at_equal_wall_time, 3),
            with_interval(summary.encodings[name].tokens_per_second, 0),
        )
        for name in comparison.names(FAMILY)
    ]
    reached = f"Loss after {seconds:,.0f} s" if seconds else "Loss at equal wall time"
    return Table(
        name="learning_speed",
        title="Training speed, and validation loss at equal wall time",
        columns=("Encoding", reached, "Training tokens/s"),
        rows=tuple(rows),
        note="Loss at equal wall time: validation loss when the fastest run of all had ended, without the time of "
        "evaluations; the learning rate of slower ones had not decayed by then. Time depends on the hardware below.",
    )


@themed
def loss_curves(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Validation loss against steps, one line per encoding with its CI band, and the common loss as a level."""
    look, names = styles(comparison), _with_curve(summary, comparison)
    labels = [shorten(display_name(name)) for name in names]
    height = max(380 if width >= 600 else 280, 110 + 18 * len(names))
    tokens_per_step = _tokens_per_step(summary.encodings[name].curve for name in names)
    top = 58 if tokens_per_step else 14
    drawn, axes = new_axes(width, height, left=52, right=36 + text_width(labels, width), bottom=50, top=top)
    ends = []
    for name, label in zip(names, labels, strict=True):
        curve, style = summary.encodings[name].curve, look[name]
        marks = {"marker": style.marker, "ms": 6.5, "mec": PAGE, "mew": 0.8}
        every = max(1, len(curve.steps) // 8)
        axes.plot(curve.steps, curve.mean, color=style.color, ls=style.dash, markevery=every, **marks)
        if curve.low and curve.high:
            axes.fill_between(curve.steps, curve.low, curve.high, color=style.color, alpha=0.18, lw=0)
        ends.append(LineEnd(curve.steps[-1], curve.mean[-1], label, style.color))
    if summary.floor is not None:
        axes.axhline(summary.floor, color=MUTED, lw=1, ls=(0, (1, 2)))
    axes.set_xlim(0, max(end.x for end in ends))
    axes.set(xlabel="Steps", ylabel="Validation loss (nats)")
    plain_ticks(axes, width)
    if tokens_per_step:
        _token_axis(axes, tokens_per_step, width)
    label_line_ends(axes, ends, gap=17)
    return drawn


@themed
def ratio_curves(summary: Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Ratio of steps to a target against the target, one line per encoding."""
    look = styles(comparison)
    names = [name for name in comparison.names(FAMILY) if summary.encodings[name].steps_to_target]
    drawn, axes, labels = line_axes(names, width)
    ends = []
    for name, label in zip(names, labels, strict=True):
        races, style = summary.encodings[name].steps_to_target, look[name]
        x, y = [race.target_loss for race in races], [race.ratio.mean for race in races]
        axes.plot(x, y, color=style.color, ls=style.dash, marker=style.marker, ms=6, mec=PAGE, mew=0.8)
        for race in races:
            if race.ratio.has_bounds:
                bounds = [race.ratio.low, race.ratio.high]
                axes.plot([race.target_loss] * 2, bounds, color=style.color, lw=1.6)
        ends.append(LineEnd(x[-1], y[-1], label, style.color))
    axes.axhline(1, color=MUTED, lw=1, ls=(0, (1, 2)))
    axes.invert_xaxis()
    axes.set(xlabel="Target: validation loss (nats)", ylabel=f"Steps, {TIMES} {display_name(comparison.reference)}'s")
    label_line_ends(axes, ends, gap=17)
    return drawn


@themed
def cost(summary: Summary, losses: lm_loss.Summary, comparison: Comparison, width: int) -> figure.Figure:
    """Test loss against training speed, one point per encoding."""
    look = styles(comparison)
    drawn, axes = new_axes(width, 360 if width >= 600 else 280, left=52, right=20, bottom=50, top=14)
    for name in comparison.names(FAMILY):
        style = look[name]
        x, y = summary.encodings[name].tokens_per_second.mean, losses.encodings[name].loss.mean
        axes.plot(x, y, color=style.color, marker=style.marker, ms=8, mec=PAGE, mew=1)
        axes.annotate(shorten(display_name(name)), (x, y), xytext=(7, 4), textcoords="offset points", fontsize=11)
    axes.set(xlabel="Training tokens/s", ylabel="Test loss (nats)")
    axes.margins(x=0.16, y=0.12)
    plain_ticks(axes, width)
    return drawn


def _token_axis(axes: Axes, tokens_per_step: float, width: int) -> None:
    above = axes.secondary_xaxis(
        "top", functions=(lambda x: x * tokens_per_step / 1e6, lambda t: t * 1e6 / tokens_per_step)
    )
    above.set_facecolor("none")
    above.set_xlabel("Training tokens (millions)", labelpad=8, color=INK, fontsize=axes.xaxis.label.get_size())
    above.tick_params(length=0, pad=4, labelsize=axes.xaxis.label.get_size() - 0.5, labelcolor=INK)
    above.spines["top"].set_visible(False)
    above.xaxis.set_major_locator(MaxNLocator(6 if width >= 600 else 3))


def _with_curve(summary: Summary, comparison: Comparison) -> list[str]:
    """Returns the encodings whose seeds have been evaluated at common steps."""
    names = (name for name in comparison.names(FAMILY) if name in summary.encodings)
    return [name for name in names if summary.encodings[name].curve.steps]


def _headline_race(summary: Summary, comparison: Comparison) -> StepsToTarget | None:
    """Returns the race of the baseline to the lowest target; None where no floor says that it is about positions."""
    other = summary.encodings.get(baseline(comparison.names(FAMILY)))
    return other.steps_to_target[-1] if other and other.steps_to_target and summary.floor is not None else None


def _tokens_per_step(curves: Iterable[Curve]) -> float | None:
    """Returns the one rate that turns steps into tokens, or None where the runs do not share one to 1 %."""
    rates = [t / s for curve in curves for s, t in zip(curve.steps, curve.tokens, strict=True) if s]
    return rates[-1] if rates and max(rates) <= 1.01 * min(rates) and min(rates) > 0 else None
