"""How training went: the loss by step and by time, the steps to a common loss, and training speed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
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
from roformer.report.figure import Figure
from roformer.report.numbers import MISSING, TIMES, corrected, display_name, fixed, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import baseline, tile
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, first_crossing, holm, interval, paired_ratio
from roformer.results.records import BySeed, Records
from roformer.sections import lm_loss
from roformer.sections.section import SECTIONS, Section

FAMILY = lm_loss.FAMILY


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
    """How soon an encoding and the reference reach the loss that all runs of the two reach."""

    target_loss: float
    steps: Interval
    reference_steps: Interval
    tokens: Interval
    reference_tokens: Interval
    ratio: Difference


@dataclass(frozen=True)
class Encoding:
    tokens_per_second: Interval
    curve: Curve
    steps_to_target: StepsToTarget | None
    loss_at_equal_wall_time: Interval | None


@dataclass(frozen=True)
class Summary:
    """Curves and speeds, and the seconds after which the fastest run of all had ended."""

    equal_wall_time: float | None
    encodings: dict[str, Encoding]


@SECTIONS.register("learning_speed")
class LearningSpeed(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Language modeling"
    place = 110

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        reference = runs.get(records.reference, {})
        races = {
            label: steps_to_target(by_seed, reference) if label != records.reference else None
            for label, by_seed in runs.items()
        }
        ratios = holm({label: race.ratio if race else None for label, race in races.items()})
        seconds, reached = at_equal_wall_time(runs)
        return Summary(
            seconds,
            {
                label: Encoding(
                    interval([each.tokens_per_second for each in by_seed.values()]),
                    mean_curve(list(by_seed.values())),
                    _with_ratio(races[label], ratios[label]),
                    reached[label],
                )
                for label, by_seed in runs.items()
            },
        )

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        if names := _with_curve(summary, comparison):
            curves = ((name, summary.encodings[name].curve) for name in names)
            ends = (f"{display_name(name)} ends at {fixed(curve.mean[-1], 3)}" for name, curve in curves)
            yield Figure(
                "loss_curves",
                "Validation loss during training.",
                _curve_caption(summary, comparison),
                f"Line chart of validation loss against steps: {'; '.join(ends)}.",
                partial(loss_curves, summary, comparison),
            )
        yield table(summary, comparison)
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
        race = _baseline_race(summary, comparison)
        tiles = []
        if race:
            label = f"the steps to the same loss, {display_name(baseline(names))} vs. {display_name(names[0])}"
            tiles.append(tile(race.ratio, label, 2, unit=TIMES))
        speed = summary.encodings[names[0]].tokens_per_second
        return [*tiles, tile(speed, f"training tokens/s, {display_name(names[0])}", 0)]

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        race = _baseline_race(summary, comparison)
        if race is None or not race.ratio.is_significant(1.0):
            return []
        subject = display_name(comparison.reference)
        other = display_name(baseline(comparison.names(FAMILY)))
        factor = max(race.ratio.mean, 1 / race.ratio.mean)
        times = f"{factor:.{1 if factor >= 1.2 else 2}f}{TIMES}"
        if race.ratio.mean > 1:
            return [f"{subject} reaches the same validation loss in {times} fewer steps than {other}."]
        return [f"{subject} needs {times} the steps of {other} to reach the same validation loss."]


def steps_to_target(runs: BySeed[Metrics], reference: BySeed[Metrics]) -> StepsToTarget | None:
    """Returns how soon both reach the loss that all runs of the two reach, over the seeds that both have and whose
    runs were both above it at their first evaluation; None where there is no such seed."""
    seeds = sorted(runs.keys() & reference.keys())
    if not seeds:
        return None
    curves = [(runs[seed], reference[seed]) for seed in seeds]
    target = max(min(curve.validation_loss) for pair in curves for curve in pair)
    reached = [
        [
            first_crossing(xs, curve.validation_loss, target)
            for xs, curve in ((ours.steps, ours), (theirs.steps, theirs), (ours.tokens, ours), (theirs.tokens, theirs))
        ]
        for ours, theirs in curves
    ]
    seen = [[each for each in crossings if each is not None] for crossings in reached if None not in crossings]
    if not seen:
        return None
    steps, reference_steps, tokens, reference_tokens = zip(*seen, strict=True)
    return StepsToTarget(
        target,
        interval(steps),
        interval(reference_steps),
        interval(tokens),
        interval(reference_tokens),
        paired_ratio(steps, reference_steps),
    )


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


def _with_ratio(race: StepsToTarget | None, ratio: Difference | None) -> StepsToTarget | None:
    return replace(race, ratio=ratio) if race and ratio else None


def table(summary: Summary, comparison: Comparison) -> Table:
    """How soon each encoding and the reference reach a common loss, and how fast each trains."""
    reference = display_name(comparison.reference)
    rows = []
    for name in comparison.names(FAMILY):
        each = summary.encodings[name]
        race = each.steps_to_target
        rows.append(
            (
                display_name(name),
                *(_race_cells(race) if race else [MISSING] * 6),
                with_interval(each.loss_at_equal_wall_time, 3),
                with_interval(each.tokens_per_second, 0),
            )
        )
    seconds = summary.equal_wall_time
    columns = (
        *("Validation loss", "Steps", f"{reference}'s steps", "Ratio", "p", "Tokens (millions)"),
        f"Loss after {seconds:,.0f} s" if seconds else "Loss at equal wall time",
        "Training tokens/s",
    )
    return Table(
        name="learning_speed",
        title="Steps to a common loss, and training speed",
        columns=("Encoding", *columns),
        rows=tuple(rows),
        note=f"The target is the lowest loss that every run of the encoding and of {reference} reached; steps between "
        "two evaluations are interpolated, and pairs that were below it at their first evaluation are ignored. Ratio: "
        "geometric mean over seeds; p: of its logarithm, corrected for all encodings of the table (Holm). Loss at "
        "equal wall time: validation loss when the fastest run of all had ended, without the time of evaluations; the "
        "learning rate of slower ones had not decayed by then. Time depends on the hardware below.",
    )


def _race_cells(race: StepsToTarget) -> list[str]:
    return [
        fixed(race.target_loss, 3),
        with_interval(race.steps, 0),
        with_interval(race.reference_steps, 0),
        with_interval(race.ratio, 2, unit=TIMES),
        corrected(race.ratio),
        with_interval(race.tokens, 2, scale=1e-6),
    ]


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
    _draw_target(axes, _baseline_race(summary, comparison), width)
    axes.set_xlim(0, max(end.x for end in ends))
    axes.set(xlabel="Steps", ylabel="Validation loss (nats)")
    plain_ticks(axes, width)
    if tokens_per_step:
        _token_axis(axes, tokens_per_step, width)
    label_line_ends(axes, ends, gap=17)
    return drawn


def _draw_target(axes: Axes, race: StepsToTarget | None, width: int) -> None:
    if race is None:
        return
    axes.axhline(race.target_loss, color=MUTED, lw=1, ls=(0, (1, 2)))
    if width >= 600:  # on a phone the caption alone says it: there is no room next to the curves
        text = {"xytext": (4, -4), "textcoords": "offset points", "va": "top", "color": MUTED, "fontsize": 11}
        place = (0.0, race.target_loss)
        axes.annotate(f"common loss {place[1]:.3f}", place, xycoords=axes.get_yaxis_transform(), **text)


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


def _baseline_race(summary: Summary, comparison: Comparison) -> StepsToTarget | None:
    """Returns the steps to a common loss of the baseline, or None."""
    other = summary.encodings.get(baseline(comparison.names(FAMILY)))
    return other.steps_to_target if other else None


def _tokens_per_step(curves: Iterable[Curve]) -> float | None:
    """Returns the one rate that turns steps into tokens, or None where the runs do not share one to 1 %."""
    rates = [t / s for curve in curves for s, t in zip(curve.steps, curve.tokens, strict=True) if s]
    return rates[-1] if rates and max(rates) <= 1.01 * min(rates) and min(rates) > 0 else None


def _curve_caption(summary: Summary, comparison: Comparison) -> str:
    bands = any(each.curve.low for each in summary.encodings.values())
    spread = "Lines: mean over seeds; bands: 95 % CI." if bands else "One seed: no bands."
    race = _baseline_race(summary, comparison)
    if race is None:
        return spread
    names = comparison.names(FAMILY)
    runs = f"{display_name(names[0])} and {display_name(baseline(names))}"
    return f"{spread} Dotted: {race.target_loss:.3f}, the loss that every run of {runs} reached (see the next table)."
