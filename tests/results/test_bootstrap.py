"""The two-way bootstrap over seeds and documents."""

import numpy as np
import pytest

from roformer.results.bootstrap import DocumentLosses, two_way_bounds


def runs_of(losses, tokens):
    """Runs of so many seeds; losses: (seeds, documents) sums."""
    documents = tuple(range(len(tokens)))
    return {
        seed: DocumentLosses(documents, tuple(each.tolist()), tuple(tokens.tolist()))
        for seed, each in enumerate(np.asarray(losses, dtype=float))
    }


def width(bounds):
    return bounds.high - bounds.low


@pytest.fixture
def tokens():
    return np.random.default_rng(1).integers(5, 50, size=60)


def test_both_sources_count(tokens):
    """Catches a bootstrap of seeds alone, which is silent about other documents, and the other way round."""
    rng = np.random.default_rng(0)
    same = np.full((5, 60), 4.0) * tokens
    seeds = same + rng.normal(0, 0.05, (5, 1)) * tokens
    documents = same + rng.normal(0, 0.3, (1, 60)) * tokens
    nothing, of_seeds, of_documents, of_both = (
        width(two_way_bounds(runs_of(each, tokens))) for each in (same, seeds, documents, seeds + documents - same)
    )
    assert nothing == pytest.approx(0)
    assert of_documents > 0.05
    assert of_both > max(of_seeds, of_documents) > 0.02


def test_a_difference_is_paired(tokens):
    """Catches documents that are drawn anew for the reference: what is hard for one is hard for the other."""
    rng = np.random.default_rng(0)
    hard = 4.0 * tokens + rng.normal(0, 1, (1, 60)) * tokens + rng.normal(0, 0.1, (5, 1)) * tokens
    bounds = two_way_bounds(runs_of(hard + 0.5 * tokens, tokens), runs_of(hard, tokens))
    assert (bounds.low, bounds.high) == pytest.approx((0.5, 0.5))


def test_the_interval_covers_the_mean(tokens):
    """Catches a mean over documents in place of one over tokens, and an interval of another level."""
    covered = 0
    for number in range(100):
        rng = np.random.default_rng(number)
        losses = 3.0 + rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 0.5, (1, 60))
        bounds = two_way_bounds(runs_of(losses * tokens, tokens))
        covered += bounds.low <= 3.0 <= bounds.high
    assert 80 <= covered <= 99


def test_what_is_not_alike_is_not_paired(tokens):
    """Catches documents of two test sets that are subtracted from each other, and one seed that is drawn from."""
    losses = np.full((3, 60), 4.0) * tokens
    other = runs_of(losses, tokens + 1)
    assert two_way_bounds(runs_of(losses, tokens), other) is None
    assert two_way_bounds(runs_of(losses[:1], tokens)) is None
    assert two_way_bounds(runs_of(losses, tokens), {9: other[0]}) is None


def test_the_same_runs_give_the_same_interval(tokens):
    """Catches a report that changes from call to call."""
    runs = runs_of(np.random.default_rng(0).normal(4, 1, (4, 60)) * tokens, tokens)
    assert two_way_bounds(runs) == two_way_bounds(runs)
