"""Means over seeds with their uncertainty, paired differences, and their correction for many tests. No torch."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import confusion_matrix

Interval = dict[str, Any]
"""{"values": one a seed, "mean", "low", "high"}: bounds of the 95 % confidence interval, None for a single seed."""

Values: TypeAlias = Sequence[float] | NDArray[Any]

LEVEL = 0.95


def interval(values: Values) -> Interval:
    """Returns the mean over seeds with Student's t interval."""
    mean = float(np.mean(values))
    low = high = None
    if len(values) > 1:
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
        low, high = mean - half, mean + half
    return {"values": [float(value) for value in values], "mean": mean, "low": low, "high": high, "over": "seeds"}


def paired_difference(values: Values, reference: Values) -> Interval:
    """Returns the mean of ``values - reference``, pair by pair, with its interval, the two-sided t-test's p, and the
    size of the effect: the mean over the standard deviation of the differences (Cohen's d of paired samples)."""
    differences = np.subtract(values, reference)
    result = interval(differences.tolist())
    varies = len(differences) > 1 and np.ptp(differences) > 0
    if not varies:  # equal by the coarseness of the measure, not by certainty: no interval, no claim
        return {**result, "low": None, "high": None, "p_value": None, "effect_size": None}
    return {
        **result,
        "p_value": float(stats.ttest_rel(values, reference).pvalue),
        "effect_size": float(np.mean(differences) / np.std(differences, ddof=1)),
    }


def paired_ratio(values: Values, reference: Values) -> Interval:
    """Returns the geometric mean of ``values / reference``, pair by pair, with its interval and p: the test of a
    difference between logarithms, so that a ratio and its inverse tell the same."""
    logarithms = paired_difference(np.log(values), np.log(reference))
    bounds = {name: logarithms[name] for name in ("mean", "low", "high")}
    return {
        **logarithms,
        "values": np.divide(values, reference).tolist(),
        **{name: None if bound is None else float(np.exp(bound)) for name, bound in bounds.items()},
    }


def correct_for_many(differences: Iterable[Interval | None]) -> None:
    """Adds ``p_holm`` to each difference of one family: p by Holm's step-down method over all that have one."""
    from statsmodels.stats.multitest import multipletests  # a second to import

    family = [difference for difference in differences if difference is not None]
    tested = [difference for difference in family if difference["p_value"] is not None]
    corrected = multipletests([each["p_value"] for each in tested], method="holm")[1] if tested else []
    for difference in family:
        difference["p_holm"] = None
    for difference, p_value in zip(tested, corrected, strict=True):
        difference["p_holm"] = float(p_value)


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
    return {"values": [mean], "mean": mean, "low": float(bounds.low), "high": float(bounds.high), "over": "examples"}


def macro_f1_interval(labels: Sequence[int], predictions: Sequence[int], *, resamples: int = 2000) -> Interval:
    """Returns the macro-averaged F1 of one run with a bootstrap percentile interval over its test examples.

    Resampling examples is resampling the cells of the confusion matrix, which is far quicker. A class that no test
    example has is left out, as in scikit-learn.
    """
    counts = confusion_matrix(labels, predictions).astype(float)
    total = int(counts.sum())
    drawn = np.random.default_rng(0).multinomial(total, counts.ravel() / total, size=resamples)
    sampled = _macro_f1(drawn.reshape(resamples, *counts.shape))
    low, high = np.quantile(sampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = float(_macro_f1(counts[None])[0])
    return {"values": [mean], "mean": mean, "low": float(low), "high": float(high), "over": "examples"}


def _macro_f1(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Maps (n, classes, classes) confusion matrices, true by predicted, to (n,) macro-averaged F1."""
    true_positives = np.diagonal(confusion, axis1=1, axis2=2)
    total = confusion.sum(axis=1) + confusion.sum(axis=2)
    f1 = np.divide(2.0 * true_positives, total, out=np.zeros(total.shape), where=total > 0)
    return np.asarray(f1.sum(axis=1) / (total > 0).sum(axis=1))


def first_crossing(xs: Sequence[float], ys: Sequence[float], target: float) -> float | None:
    """Returns the x at which ``ys`` first falls to ``target``, interpolated between two points; None if never, or at a
    point before the first that nobody has seen."""
    if ys[0] <= target:
        return float(xs[0]) if ys[0] == target else None
    for i, y in enumerate(ys):
        if y <= target:
            share = (ys[i - 1] - target) / (ys[i - 1] - y)
            return float(xs[i - 1] + share * (xs[i] - xs[i - 1]))
    return None
