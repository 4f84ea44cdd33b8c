"""Means over seeds with their uncertainty, paired differences, and the correction of p-values for many tests."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import confusion_matrix

Values: TypeAlias = Sequence[float] | NDArray[Any]
K = TypeVar("K", bound=Hashable)

LEVEL = 0.95
SIGNIFICANT = 0.05  # p after correction below which a difference is significant
TESTED_SEEDS = 8  # with n seeds the smallest p of a sign-flip test is 2 / 2^n: with 5 of them 0.0625, with 8 0.008
_FLIPS = 2**16  # up to 16 seeds all sign flips, beyond that as many random ones


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval.

    Attributes:
        values: one per seed.
        mean: of the values; of ratios the geometric mean.
        low, high: the bounds; None where one value gives none.
        over: whether the interval is over seeds, or over the test examples of one run.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    over: Literal["seeds", "examples"] = "seeds"

    @property
    def has_bounds(self) -> bool:
        return self.low is not None and self.high is not None

    def ci_excludes(self, value: float) -> bool:
        """Returns whether two seeds or more give an interval that does not contain ``value``."""
        if self.low is None or self.high is None or len(self.values) < 2:
            return False
        return self.low > value or self.high < value


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference (or ratio) to the reference, seed by seed.

    Attributes:
        p_value: of the two-sided sign-flip test; None with fewer than 8 seeds.
        p_holm: the same after Holm's correction for all differences of its family of tests; None in exploratory ones.
    """

    p_value: float | None = None
    p_holm: float | None = None

    def is_clear(self, nothing: float = 0.0) -> bool:
        """Returns whether the interval excludes ``nothing`` (1 for ratios) and, where there is a corrected p, that is
        below 0.05."""
        return self.ci_excludes(nothing) and (self.p_holm is None or self.p_holm < SIGNIFICANT)


def interval(values: Values) -> Interval:
    """Returns the mean over seeds with Student's t interval."""
    mean = float(np.mean(values))
    low = high = None
    if len(values) > 1:
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
        low, high = mean - half, mean + half
    return Interval(tuple(float(value) for value in values), mean, low, high)


def is_bimodal(values: Sequence[float], *, gap: float = 0.1, ratio: float = 3.0) -> bool:
    """Returns whether the values of three seeds or more fall into two groups: their widest gap is at least ``gap``
    and at least ``ratio`` times all the others together."""
    gaps = sorted(np.diff(sorted(values)).tolist())
    return len(values) > 2 and gaps[-1] >= max(gap, ratio * sum(gaps[:-1]))


def paired_difference(values: Values, reference: Values) -> Difference:
    """Returns the mean of ``values - reference``, pair by pair, with its interval and the sign-flip test's p."""
    differences = np.subtract(values, reference)
    found = interval(differences.tolist())
    varies = len(differences) > 1 and np.ptp(differences) > 0
    if not varies:  # equal by the coarseness of the measure, not by certainty: no interval, no claim
        return Difference(found.values, found.mean, None, None)
    return Difference(found.values, found.mean, found.low, found.high, p_value=sign_flip_p(differences))


def sign_flip_p(differences: NDArray[Any]) -> float | None:
    """Returns the two-sided p of the mean under random signs, which assumes symmetry and no distribution; None with
    fewer than 8 differences, where no p can be small."""
    if len(differences) < TESTED_SEEDS:
        return None
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_FLIPS, rng=np.random.default_rng(0)
    )
    return float(test.pvalue)


def paired_by_seed(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Returns the paired difference over the seeds that both have; None where they share none."""
    seeds = sorted(values.keys() & reference.keys())
    return paired_difference([values[s] for s in seeds], [reference[s] for s in seeds]) if seeds else None


def paired_ratio(values: Values, reference: Values) -> Difference:
    """Returns the geometric mean of ``values / reference``, pair by pair, with its interval and p: those of the
    difference between logarithms, so that a ratio and its inverse agree."""
    logarithms = paired_difference(np.log(values), np.log(reference))
    return replace(
        logarithms,
        values=tuple(np.divide(values, reference).tolist()),
        mean=float(np.exp(logarithms.mean)),
        low=None if logarithms.low is None else float(np.exp(logarithms.low)),
        high=None if logarithms.high is None else float(np.exp(logarithms.high)),
    )


def holm(differences: Mapping[K, Difference | None]) -> dict[K, Difference | None]:
    """Returns the differences of one family of tests with ``p_holm``: Holm's step-down method over all with a p."""
    from statsmodels.stats.multitest import multipletests  # a second to import

    tested = {key: each.p_value for key, each in differences.items() if each and each.p_value is not None}
    corrected = multipletests(list(tested.values()), method="holm")[1] if tested else []
    found = dict(zip(tested, corrected, strict=True))
    return {
        key: replace(each, p_holm=float(found[key])) if each and key in found else each
        for key, each in differences.items()
    }


def expected_best(choices: Sequence[Sequence[float]]) -> float:
    """Returns the mean of the best of one value from each of ``choices``, each value of a choice being as likely.

    With one choice that is drawn from n times it is the expected maximum of Dodge et al. 2019 (arXiv:1909.03004, eq. 6
    to 8).
    """
    values = np.unique(np.concatenate([np.asarray(choice, dtype=np.float64) for choice in choices]))
    below = np.prod([[np.mean(np.asarray(choice) <= value) for value in values] for choice in choices], axis=0)
    return float(values @ np.diff(below, prepend=0.0))


def accuracy_interval(correct: Values) -> Interval:
    """Returns the accuracy of one run with Wilson's interval over its test examples."""
    bounds = stats.binomtest(int(np.sum(correct)), len(correct)).proportion_ci(LEVEL, method="wilson")
    mean = float(np.mean(correct))
    return Interval((mean,), mean, float(bounds.low), float(bounds.high), over="examples")


def macro_f1_interval(labels: Sequence[int], predictions: Sequence[int], *, resamples: int = 2000) -> Interval:
    """Returns the macro-averaged F1 of one run with a bootstrap percentile interval over its test examples.

    Resampling examples is resampling the cells of the confusion matrix, which is far quicker. A class without test
    examples is ignored, as in scikit-learn.
    """
    counts = confusion_matrix(labels, predictions).astype(float)
    total = int(counts.sum())
    drawn = np.random.default_rng(0).multinomial(total, counts.ravel() / total, size=resamples)
    sampled = _macro_f1(drawn.reshape(resamples, *counts.shape))
    low, high = np.quantile(sampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = float(_macro_f1(counts[None])[0])
    return Interval((mean,), mean, float(low), float(high), over="examples")


def _macro_f1(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Maps (n, classes, classes) confusion matrices, true by predicted, to (n,) macro-averaged F1."""
    true_positives = np.diagonal(confusion, axis1=1, axis2=2)
    total = confusion.sum(axis=1) + confusion.sum(axis=2)
    f1 = np.divide(2.0 * true_positives, total, out=np.zeros(total.shape), where=total > 0)
    return np.asarray(f1.sum(axis=1) / (total > 0).sum(axis=1))


def crossing(xs: Sequence[float], ys: Sequence[float], target: float) -> float:
    """Returns the x at which ``ys`` first falls to ``target``, interpolated between two points.

    Raises:
        ValueError: if it never does, or was below it from the first point on.
    """
    if ys[0] < target:
        raise ValueError(f"{ys[0]} is below {target} from the first point on")
    for i, y in enumerate(ys):
        if y <= target:
            before = max(i - 1, 0)
            share = (ys[before] - target) / (ys[before] - y) if y < ys[before] else 0.0
            return float(xs[before] + share * (xs[i] - xs[before]))
    raise ValueError(f"{min(ys)} is above {target}")
