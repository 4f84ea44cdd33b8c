"""What the paper proves about rotary position embedding, as numbers that a figure or a test can use.

Source: Su et al. 2021, arXiv:2104.09864, section 3.4.3.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def relative_upper_bound(distances: ArrayLike, *, head_size: int, base: float) -> NDArray[np.float64]:
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
    frequencies = base ** -(np.arange(0, head_size, 2) / head_size)  # theta_i, radians per token
    terms = np.exp(1j * np.asarray(distances, dtype=np.float64)[..., None] * frequencies)
    bound: NDArray[np.float64] = np.abs(terms.cumsum(axis=-1)).mean(axis=-1)
    return bound
