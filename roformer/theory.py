"""What the paper proves about rotary position embedding, as numbers that a figure or a test can use.

Source: Su et al. 2021, arXiv:2104.09864, section 3.4.3.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]


def relative_upper_bound(distances: ArrayLike, *, head_size: int, base: float) -> Floats:
    """Returns (1/(d/2)) sum_{i=1}^{d/2} |S_i|, the factor of the bound on q.k that depends on distance.

    S_j = sum_{i<j} exp(1j * distance * theta_i) with theta_i = base^(-2i/d), from the Abel summation in eq. 35-37;
    Figure 2 plots it for d = 128 and base 10000 (the paper prints no d; its curve fits this one to 0.01).
    It is an upper bound, and not a monotone one: it says nothing about what attention does at a given distance.

    Args:
        distances: any shape, in tokens.
        head_size: d, even.
        base: dimensionless, 10000 in the paper.

    Returns:
        The shape of ``distances``, dimensionless; (d/2 + 1) / 2 at distance 0.

    Raises:
        ValueError: if the head size is odd or below 2.
    """
    if head_size < 2 or head_size % 2:
        raise ValueError(f"relative_upper_bound needs an even head_size of at least 2, got {head_size}")
    return _partial_sums(distances, head_size, base).mean(axis=-1)


def scores_at(products: Complex, distances: ArrayLike, *, base: float) -> Floats:
    """Returns q.k of rotated queries and keys at other distances than theirs: Re sum_i h_i e^(1j r theta_i) (eq. 35).

    Args:
        products: h_i = q_i k_i*, (..., d/2), of query and key pairs as complex numbers, before they are rotated.
        distances: (R,) r = m - n, in tokens.
        base: dimensionless.

    Returns:
        (..., R), in the units of q.k.
    """
    turned: Floats = (products @ np.exp(1j * _angles(distances, 2 * products.shape[-1], base)).T).real
    return turned


def score_bounds(products: Complex, distances: ArrayLike, *, base: float) -> Floats:
    """Returns what eq. 37 bounds |``scores_at``| by: (max_i |h_{i+1} - h_i|) sum_{i=1}^{d/2} |S_i|, with h_{d/2} = 0.

    Args, shape and units as those of ``scores_at``.
    """
    steps = np.abs(np.diff(products, axis=-1, append=0)).max(axis=-1, keepdims=True)
    bounds: Floats = steps * _partial_sums(distances, 2 * products.shape[-1], base).sum(axis=-1)
    return bounds


def _angles(distances: ArrayLike, head_size: int, base: float) -> Floats:
    """Returns r theta_i, (..., d/2) radians: theta_i = base^(-2i/d) a token."""
    angles: Floats = np.asarray(distances, dtype=np.float64)[..., None] * base ** -(
        np.arange(0, head_size, 2) / head_size
    )
    return angles


def _partial_sums(distances: ArrayLike, head_size: int, base: float) -> Floats:
    """Returns |S_1| ... |S_{d/2}|, (..., d/2)."""
    sums: Floats = np.abs(np.exp(1j * _angles(distances, head_size, base)).cumsum(axis=-1))
    return sums
