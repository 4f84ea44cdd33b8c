"""How training went: the loss by step and by time, and training speed."""

from collections.abc import Iterable, Iterator, Mapping
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
from roformer.report.figure import Figure
from roformer.report.numbers import display_name, fixed, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import tile
from roformer.results.comparison import Comparison
from roformer.results.intervals import Interval, interval
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
class Encoding:
    tokens_per_second: Interval
    curve: Curve
    by_seed: dict[int, Metrics]
    loss_at_equal_wall_time: Interval | None


@dataclass(frozen=True)
class Summary:
    """Curves and speeds of each encoding, and the seconds after which the fastest run of all had ended."""

    equal_wall_time: float | None
    encodings: dict[str, Encoding]

    @property
    def floor(self) -> float | None:
        """The lowest validation loss without positions, of the mean over seeds; None without such runs."""
        without = self.encodings.get("none")
        return min(without.curve.mean, default=None) if without else None


@SECTIONS.register("learning_speed")
class LearningSpeed(Section[Summary]):
    version = 3
    summary = Summary
    family = FAMILY
    heading = "Learning speed"
    place = 120

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        seconds, reached = at_equal_wall_time(runs)
        return Summary(
            seconds,
            {
                label: Encoding(
                    interval([each.tokens_per_second for each in by_seed.values()]),
                    mean_curve(list(by_seed.values())),
                    by_seed,
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
        name = next(name for name in comparison.names(FAMILY) if name in summary.encodings)
        return [tile(summary.encodings[name].tokens_per_second, f"training tokens/s, {display_name(name)}", 0)]


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
        "evaluations; the learning rate of slower ones had not decayed by then. Time depends on the hardware below "
        "and on what else it did, so intervals here include differences in machine speed.",
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


def _tokens_per_step(curves: Iterable[Curve]) -> float | None:
    """Returns the one rate that turns steps into tokens, or None where the runs do not share one to 1 %."""
    rates = [t / s for curve in curves for s, t in zip(curve.steps, curve.tokens, strict=True) if s]
    return rates[-1] if rates and max(rates) <= 1.01 * min(rates) and min(rates) > 0 else None
