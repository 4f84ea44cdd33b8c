"""Intervals and tests against scipy, scikit-learn, and numbers worked out by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from roformer.results.intervals import (
    Difference,
    accuracy_interval,
    crossing,
    holm,
    interval,
    is_bimodal,
    macro_f1_interval,
    paired_difference,
    paired_ratio,
)


def test_interval_of_three_seeds_by_hand():
    """Catches the normal quantile in place of Student's, and a deviation over n instead of n - 1."""
    result = interval([1.0, 2.0, 3.0])
    half = 4.302653 * 1.0 / 3**0.5  # t quantile of 2 degrees of freedom, deviation 1
    assert (result.mean, result.low, result.high) == pytest.approx((2.0, 2 - half, 2 + half), rel=1e-6)
    assert (result.values, result.over) == ((1.0, 2.0, 3.0), "seeds")


@pytest.mark.parametrize("count", [2, 5, 12])
def test_interval_is_that_of_scipy(count):
    """Catches another level than 95 % or wrong degrees of freedom."""
    values = np.random.default_rng(count).normal(3, 2, count)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (interval(values).low, interval(values).high) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_interval():
    """Catches an interval of width 0, or nan, that a reader takes for certainty."""
    result = interval([4.0])
    assert (result.mean, result.low, result.high) == (4.0, None, None)


def test_interval_covers_in_95_of_100_cases():
    """Catches any mistake in the width: of 2,000 samples about 1,900 intervals hold the true mean."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        result = interval(rng.normal(1.0, 3.0, 4))
        covered += result.low <= 1.0 <= result.high
    assert stats.binomtest(covered, 2000, 0.95).pvalue > 1e-4


def test_pairs_cancel_what_they_share():
    """Catches a test of two independent samples: the seeds differ far more than the encodings do."""
    reference = np.array([1.0, 5.0, 9.0])
    result = paired_difference(reference + np.array([0.10, 0.11, 0.12]), reference)
    half = 4.302653 * 0.01 / 3**0.5
    assert (result.mean, result.low, result.high) == pytest.approx((0.11, 0.11 - half, 0.11 + half))


def test_p_is_that_of_the_sign_flip_test():
    """Catches a p that needs normal differences, and one below what n seeds can give."""
    differences = np.array([0.9, 1.1, 0.8, -0.1, 1.2, 0.7, 1.0, 0.6])
    signs = np.array(list(product((-1, 1), repeat=8)))
    extreme = np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12
    assert paired_difference(differences, np.zeros(8)).p_value == pytest.approx(extreme.mean())
    assert paired_difference(np.abs(differences), np.zeros(8)).p_value == pytest.approx(2 / 2**8)


def test_few_seeds_have_no_p():
    """Catches a p of five seeds below 0.0625, which only an assumption can give."""
    for count in range(2, 8):
        assert paired_difference(np.arange(count) + 10.0, np.zeros(count)).p_value is None


@pytest.mark.parametrize(
    ("low", "p_holm", "clear"), [(0.1, None, True), (0.1, 0.04, True), (0.1, 0.06, False), (-0.1, None, False)]
)
def test_a_clear_difference(low, p_holm, clear):
    """Catches a difference that is called clear though zero is possible, or that a test denies."""
    assert Difference((0.5, 0.5), 0.5, low, 0.9, p_holm=p_holm).is_clear() == clear


def test_many_tests_are_corrected_by_holm():
    """Catches Bonferroni, an order that is lost, and a p that falls below a smaller one's."""
    family = {i: Difference((), 0.0, None, None, p_value=p) for i, p in enumerate((0.03, 0.01, None, 0.04))}
    corrected = holm({**family, "missing": None})
    assert corrected["missing"] is None
    found = [corrected[i].p_holm for i in family]
    assert found == [pytest.approx(0.06), pytest.approx(0.03), None, pytest.approx(0.06)]


def test_sign_of_a_difference():
    """Catches the reference less the value."""
    assert paired_difference([1.0, 1.5], [2.0, 2.0]).mean == -0.75


@pytest.mark.parametrize(("values", "reference"), [([1.0], [2.0]), ([1.0, 2.0], [3.0, 4.0])])
def test_no_p_value_without_variation(values, reference):
    """Catches nan in the report, or a p of 0, from one pair or from pairs that all differ by the same."""
    assert paired_difference(values, reference).p_value is None


def test_wilson_interval_by_hand():
    """Catches the normal approximation, which leaves [0, 1] and has width 0 where all answers are right."""
    z = 1.959964
    result = accuracy_interval([True] * 8 + [False] * 2)
    center, half = (0.8 + z**2 / 20) / (1 + z**2 / 10), z * (0.016 + z**2 / 400) ** 0.5 / (1 + z**2 / 10)
    assert (result.mean, result.low, result.high) == pytest.approx((0.8, center - half, center + half))
    assert result.over == "examples"
    perfect = accuracy_interval([True] * 10)
    assert (perfect.low, perfect.high) == (pytest.approx(10 / (10 + z**2)), pytest.approx(1.0))


@pytest.mark.parametrize("classes", [2, 5])
def test_macro_f1_is_that_of_scikit_learn(classes):
    """Catches a mean over documents instead of classes, and classes that count though nothing is about them."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=60)
    predictions = np.where(rng.random(60) < 0.6, labels, rng.integers(classes, size=60))
    for truth, predicted in ((labels, predictions), (np.minimum(labels, 1), predictions), ([0, 0, 3], [0, 3, 3])):
        result = macro_f1_interval(list(truth), list(predicted))
        assert result.mean == pytest.approx(f1_score(truth, predicted, average="macro"))
        assert 0 <= result.low <= result.mean <= result.high <= 1


def test_macro_f1_interval_covers_the_true_value():
    """Catches a bootstrap of the wrong thing: of 200 samples about 190 intervals should hold the true F1."""
    confusion = np.array([[0.3, 0.1, 0.0], [0.05, 0.25, 0.05], [0.0, 0.1, 0.15]])
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    true = float(np.mean(2 * np.diagonal(confusion) / total))
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        cells = rng.choice(9, size=300, p=confusion.ravel())
        result = macro_f1_interval((cells // 3).tolist(), (cells % 3).tolist(), resamples=300)
        covered += result.low <= true <= result.high
    assert 180 <= covered <= 199


def test_macro_f1_interval_is_that_of_resampled_examples():
    """Catches resamples of another size, whose spread is that of a larger or smaller test."""
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=150)
    predictions = np.where(rng.random(150) < 0.6, labels, rng.integers(3, size=150))
    result = macro_f1_interval(labels.tolist(), predictions.tolist())
    drawn = rng.integers(150, size=(500, 150))
    sampled = [f1_score(labels[index], predictions[index], average="macro") for index in drawn]
    assert (result.low, result.high) == pytest.approx(np.quantile(sampled, [0.025, 0.975]), abs=0.02)


def test_a_class_that_a_resample_lacks_does_not_count():
    """Catches a rare class that, where it happens not to be drawn, counts as got wrong."""
    labels = [0] * 20 + [1] * 20 + [2]
    assert macro_f1_interval(labels, labels).low == 1.0


def test_the_same_predictions_give_the_same_interval():
    """Catches a report that changes from call to call."""
    labels, predictions = [0, 1, 1, 0, 1] * 4, [0, 1, 0, 0, 1] * 4
    assert macro_f1_interval(labels, predictions) == macro_f1_interval(labels, predictions)


def test_a_ratio_and_its_inverse_tell_the_same():
    """Catches the mean of ratios, which of 2 and 1/2 makes more than 1, and an interval that is not around it."""
    ours, theirs = [10.0, 20.0, 40.0], [40.0, 41.0, 42.0]
    there, back = paired_ratio(ours, theirs), paired_ratio(theirs, ours)
    assert paired_ratio([2.0, 1.0], [1.0, 2.0]).mean == pytest.approx(1)
    assert there.values == (0.25, 20 / 41, 40 / 42)
    assert there.mean == pytest.approx(np.prod(there.values) ** (1 / 3))
    assert (1 / there.mean, 1 / there.high, 1 / there.low) == pytest.approx((back.mean, back.low, back.high))
    assert (paired_ratio([1.0], [2.0]).mean, paired_ratio([1.0], [2.0]).low) == (0.5, None)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (5.0, 10.0),  # at the first point
        (4.0, 20.0),  # exactly at a point
        (3.5, 25.0),  # half-way between two
        (3.0, 30.0),
    ],
)
def test_crossing(target, expected):
    """Catches the last crossing in place of the first, and a point too late."""
    assert crossing([10, 20, 30, 40, 50], [5.0, 4.0, 3.0, 4.5, 3.0], target) == expected


@pytest.mark.parametrize("target", [9.0, 2.0])
def test_a_crossing_that_nobody_saw(target):
    """Catches a crossing before the first point that is reported as that point, and one that never was."""
    with pytest.raises(ValueError, match=f"{target}"):
        crossing([10, 20], [5.0, 4.0], target)


def test_crossing_of_a_curve_that_jumps_between_unequal_steps():
    """Catches interpolation by number of points instead of by step."""
    assert crossing([0, 100, 110], [8.0, 4.0, 2.0], 3.0) == pytest.approx(105)
    assert crossing([0, 100, 110], [8.0, 4.0, 2.0], 7.0) == pytest.approx(25)


@pytest.mark.parametrize(
    ("values", "bimodal"),
    [
        ([5.815, 5.817, 5.545, 5.820, 5.822], True),  # one seed has left the plateau
        ([2.1, 1.6, 1.62], True),
        ([4.03, 4.05, 4.00, 4.01, 4.02], False),
        ([4.0, 4.2, 4.4, 4.6], False),  # wide, and not in two groups
        ([4.0, 5.0], False),
    ],
)
def test_seeds_in_two_groups(values, bimodal):
    """Catches an interval over two states, which describes neither."""
    assert is_bimodal(values) == bimodal
