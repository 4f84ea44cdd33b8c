"""The bound of Figure 2 against reference values computed from eq. 37 independently of this code."""

import numpy as np
import pytest

from roformer.theory import relative_upper_bound

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
