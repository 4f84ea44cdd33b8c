"""Section 3 of the paper: the forms of the rotation, what scores depend on, and the bound of Figure 2 against values
computed from eq. 37 independently of this code."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from roformer.position.rope import ModelShape, RotaryPositionEncoding
from roformer.theory import relative_upper_bound, score_bounds, scores_at

DISTANCES = [0, 1, 10, 50, 100, 128, 200, 256, 512, 1024, 4096]
REFERENCE = {
    128: [32.500, 31.538, 17.954, 12.629, 10.227, 9.273, 7.245, 6.543, 5.311, 4.024, 4.883],
    64: [16.500, 15.948, 8.814, 5.733, 7.465, 4.749, 3.860, 3.844, 2.986, 3.065, 5.287],
}


@pytest.mark.parametrize("head_size", REFERENCE)
def test_reference_values(head_size):
    """Catches a wrong exponent, a missing average and a partial sum that is off by one."""
    bound = relative_upper_bound(DISTANCES, head_size=head_size, base=10_000.0)
    np.testing.assert_allclose(bound, REFERENCE[head_size], atol=6e-4)


def test_bound_is_not_monotone():
    """Catches a smoothed or sorted curve: 115 of the 256 steps of Figure 2 go up."""
    bound = relative_upper_bound(np.arange(257), head_size=128, base=10_000.0)
    assert (np.diff(bound) > 0).sum() == 115


def test_shape_and_sign_of_distance():
    """Catches a reduction over the wrong axis; the bound depends on |distance| only."""
    grid = np.array([[0, 3], [-3, 7]])
    bound = relative_upper_bound(grid, head_size=8, base=100.0)
    assert bound.shape == grid.shape
    assert bound[0, 1] == pytest.approx(bound[1, 0])


@pytest.mark.parametrize("head_size", [0, 7])
def test_impossible_head_size_is_refused(head_size):
    with pytest.raises(ValueError, match="even head_size"):
        relative_upper_bound([1], head_size=head_size, base=10_000.0)


# Equations 12 to 37, each written out by itself in float64

RNG = np.random.default_rng(0)
SIZE, BASE = 16, 100.0
QUERY, KEY = RNG.normal(size=(2, 50, SIZE))
THETA = [BASE ** (-2 * i / SIZE) for i in range(SIZE // 2)]
PLACES = [0, 1, 7, -3, 2.5, 400]


def matrix(place):
    """R of eq. 15: a 2 x 2 rotation for each pair of neighbors."""
    rotation = np.zeros((SIZE, SIZE))
    for i, theta in enumerate(THETA):
        cos, sin = np.cos(place * theta), np.sin(place * theta)
        rotation[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[cos, -sin], [sin, cos]]
    return rotation


def elementwise(x, place):
    """Eq. 34: x * cos + (-x2, x1, -x4, x3, ...) * sin."""
    angles = np.repeat(place * np.array(THETA), 2)
    swapped = np.stack((-x[:, 1::2], x[:, 0::2]), axis=-1).reshape(x.shape)
    return x * np.cos(angles) + swapped * np.sin(angles)


def complex_product(x, place):
    """Eq. 12: pairs as complex numbers, times e^(i m theta)."""
    turned = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * place * np.array(THETA))
    return np.stack((turned.real, turned.imag), axis=-1).reshape(x.shape)


FORMS = {"eq. 15": lambda x, place: x @ matrix(place).T, "eq. 34": elementwise, "eq. 12": complex_product}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_the_encoding_is_each_form_of_the_rotation(form, place):
    """Catches a sign, a pair or a frequency that differs from the paper's."""
    encoding = RotaryPositionEncoding(ModelShape(hidden_size=SIZE), rope_theta=BASE)
    rotated = encoding.rotate(torch.from_numpy(QUERY)[None], encoding.prepare(torch.tensor([[place]])))
    np.testing.assert_allclose(rotated[0, 0], FORMS[form](QUERY, place), atol=1e-6)  # its tables are float32


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_one_rotation(form):
    """The three are equal to the last digits of float64, keep lengths, and go together by adding places."""
    for place in PLACES:
        rotated = FORMS[form](QUERY, place)
        np.testing.assert_allclose(rotated, FORMS["eq. 15"](QUERY, place), atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(rotated, axis=1), np.linalg.norm(QUERY, axis=1), rtol=1e-12)
        np.testing.assert_allclose(FORMS[form](rotated, 3.5), FORMS[form](QUERY, place + 3.5), atol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(5, 2), (0, 40), (-3.5, 9.25)])
def test_scores_depend_on_the_distance_only(m, n):
    """Eq. 16: (R_m q) . (R_n k) = q . R_{n-m} k, in float64; eq. 35 gives the same."""
    scores = ((QUERY @ matrix(m).T) * (KEY @ matrix(n).T)).sum(axis=1)
    np.testing.assert_allclose(scores, (QUERY * (KEY @ matrix(n - m).T)).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(scores_at(products(), [m - n], base=BASE)[:, 0], scores, atol=1e-12)
    assert np.abs(scores - (QUERY * KEY).sum(axis=1)).max() > 0.1


def products():
    pairs = [x[:, 0::2] + 1j * x[:, 1::2] for x in (QUERY, KEY)]
    return pairs[0] * pairs[1].conj()


def test_abel_summation():
    """Eq. 36: the sum of eq. 35 is -sum_i S_{i+1} (h_{i+1} - h_i), with h_{d/2} = 0."""
    for distance in PLACES:
        turns = np.exp(1j * distance * np.array(THETA))
        sums = np.array([turns[: i + 1].sum() for i in range(SIZE // 2)])
        steps = np.diff(products(), axis=1, append=0)
        np.testing.assert_allclose(
            -(steps @ sums).real, scores_at(products(), [distance], base=BASE)[:, 0], atol=1e-12
        )


def test_bound_holds_and_is_that_of_equation_37():
    """Catches a bound that is too low or, by a wrong factor, too high: one pair of channels meets it."""
    distances = np.arange(300)
    scores, bounds = (f(products(), distances, base=BASE) for f in (scores_at, score_bounds))
    assert (np.abs(scores) <= bounds + 1e-12).all()
    steps = np.array([max(abs(b - a) for a, b in pairwise([*h, 0])) for h in products()])
    factor = relative_upper_bound(distances, head_size=SIZE, base=BASE) * SIZE / 2
    np.testing.assert_allclose(bounds, steps[:, None] * factor, rtol=1e-12)
    lonely = np.array([[3.0 + 0j]])
    assert score_bounds(lonely, [0], base=BASE) == scores_at(lonely, [0], base=BASE) == 3.0
