"""Whether a classifier is right as often as its probabilities say: expected calibration error, reliability diagram.

Source: Guo et al. 2017, arXiv:1706.04599, sections 2 and 3 (eq. 3: the error).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import figure
from sklearn.calibration import calibration_curve

from roformer.report.blocks import Block
from roformer.report.canvas import MUTED, PAGE, LineEnd, label_line_ends, themed
from roformer.report.charts import line_axes
from roformer.report.figure import Figure
from roformer.report.numbers import display_name, with_interval
from roformer.report.styles import styles
from roformer.report.table import Table
from roformer.report.wording import interval_note
from roformer.results.comparison import Comparison
from roformer.results.intervals import Interval, interval
from roformer.results.records import Records
from roformer.sections.classification import FAMILY
from roformer.sections.section import SECTIONS, Section

BINS = 15  # of equal width, as in Guo et al.


@dataclass(frozen=True)
class HardDocument:
    """A test document of high loss.

    Attributes:
        number: in the test split, from 0.
        excerpt: its first words, as the tokenizer writes them.
        label, prediction: true and predicted class.
        label_probability, prediction_probability: that the model gives them.
        loss: in nats.
    """

    number: int
    excerpt: str
    label: str
    label_probability: float
    prediction: str
    prediction_probability: float
    loss: float


@dataclass(frozen=True)
class Metrics:
    """Of one run: for each test document the probability of the predicted class, and whether that is right; and the
    documents of the highest loss, worst first, as many as were asked for."""

    confidences: tuple[float, ...]
    correct: tuple[bool, ...]
    hardest: tuple[HardDocument, ...]


@dataclass(frozen=True)
class Bin:
    """Test documents of similar confidence: how many, their mean confidence, and the share that is right."""

    documents: int
    confidence: float
    share_right: float


@dataclass(frozen=True)
class Encoding:
    """Of one encoding: error and confidence over seeds, and the bins of the documents of all seeds."""

    calibration_error: Interval
    confidence: Interval
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Summary:
    encodings: dict[str, Encoding]


@SECTIONS.register("calibration")
class Calibration(Section[Summary]):
    summary = Summary
    family = FAMILY
    heading = "Classification"
    place = 404

    def summarize(self, records: Records) -> Summary | None:
        runs = records.by_encoding(Metrics)
        return Summary({label: _encoding(list(by_seed.values())) for label, by_seed in runs.items()}) if runs else None

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        names = [name for name in comparison.names(FAMILY) if name in summary.encodings]
        errors = [summary.encodings[name].calibration_error for name in names]
        yield Table(
            name="calibration",
            title=f"Expected calibration error ({BINS} bins)",
            columns=("Encoding", "Calibration error (points)", "Mean confidence (%)"),
            rows=tuple(
                (
                    display_name(name),
                    with_interval(summary.encodings[name].calibration_error, 1, scale=100),
                    with_interval(summary.encodings[name].confidence, 1, scale=100),
                )
                for name in names
            ),
            note="Confidence: probability of the predicted class. Calibration error: mean distance, over the test "
            f"documents, of the confidence of their bin to the share of it that is right; lower is better. "
            f"{interval_note(errors)}",
        )
        values = (f"{display_name(n)} {with_interval(e, 1, scale=100)}" for n, e in zip(names, errors, strict=True))
        yield Figure(
            "reliability",
            "Reliability diagram: how often a prediction is right, by its confidence.",
            "Dotted: perfect calibration. Below it a model is too confident. Documents of all seeds together.",
            f"Line chart of accuracy against confidence; calibration error in points: {'; '.join(values)}.",
            partial(reliability, summary, comparison, names),
        )


def bins_of(confidences: Sequence[float], correct: Sequence[bool]) -> tuple[Bin, ...]:
    """Returns the bins that have a document, by rising confidence."""
    right, means = calibration_curve(np.asarray(correct, dtype=int), confidences, n_bins=BINS)
    inner = np.linspace(0, 1, BINS + 1)[1:-1]  # bounds between bins, as in scikit-learn
    counts = np.bincount(np.searchsorted(inner, confidences))
    columns = (counts[counts > 0].tolist(), means.tolist(), right.tolist())
    return tuple(Bin(*each) for each in zip(*columns, strict=True))


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error, from 0 to 1."""
    distances = [abs(each.confidence - each.share_right) for each in bins]
    return float(np.average(distances, weights=[each.documents for each in bins]))


def _encoding(metrics: Sequence[Metrics]) -> Encoding:
    return Encoding(
        interval([calibration_error(bins_of(each.confidences, each.correct)) for each in metrics]),
        interval([float(np.mean(each.confidences)) for each in metrics]),
        bins_of(
            [confidence for each in metrics for confidence in each.confidences],
            [right for each in metrics for right in each.correct],
        ),
    )


@themed
def reliability(summary: Summary, comparison: Comparison, names: Sequence[str], width: int) -> figure.Figure:
    """Share of right predictions against confidence, one line per encoding."""
    look = styles(comparison)
    drawn, axes, labels = line_axes(names, width)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (1, 2)))
    ends = []
    for name, label in zip(names, labels, strict=True):
        style, bins = look[name], summary.encodings[name].bins
        x, y = [each.confidence for each in bins], [each.share_right for each in bins]
        axes.plot(x, y, color=style.color, ls=style.dash, marker=style.marker, ms=6.5, mec=PAGE, mew=0.8)
        ends.append(LineEnd(x[-1], y[-1], label, style.color))
    axes.set(xlabel="Confidence", ylabel="Share that is right", xlim=(0, 1), ylim=(0, 1.02))
    label_line_ends(axes, ends, gap=17)
    return drawn
