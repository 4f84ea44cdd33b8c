"""The frequencies that sinusoidal and rotary encodings share, and the angles of positions."""

import math

import torch
from torch import Tensor

_BITS = 12  # float32 holds the product of two numbers of so many bits exactly


def frequencies(size: int, base: float, device: torch.device) -> Tensor:
    """Returns base^(-2i/size), i = 0 ... size/2 - 1, radians per token (eq. 4 and 15 of the paper), (size/2,).

    In float64 where the device has it: a position in the thousands times a float32 angle is off by too much.
    """
    precise = torch.float32 if device.type == "mps" else torch.float64
    return base ** (-torch.arange(0, size, 2, dtype=precise, device=device) / size)


def angles_at(positions: Tensor, thetas: Tensor) -> Tensor:
    """Returns positions (..., 1) times frequencies (R/2,), (..., R/2) radians, in the precision of the frequencies.

    In an exported graph in float32, without whole turns: not every runtime computes in float64.
    """
    if not torch.compiler.is_exporting():
        return positions.to(thetas.dtype) * thetas
    return 2 * math.pi * _turns(positions.float(), thetas / (2 * math.pi))


def _turns(positions: Tensor, turns_per_token: Tensor) -> Tensor:
    """Returns positions (..., 1) times turns per token (R/2,), without whole turns, in float32.

    Both factors are cut into parts of 12 bits. The product of two parts is exact, and stays so without whole turns, so
    only the sum of what remains is rounded: to 1e-6 radians for whole positions up to 2^24. Of a fractional one the
    last 12 bits are as exact as in a plain product.
    """
    low = positions.remainder(2**_BITS)
    positions = torch.stack((positions - low, low), dim=-1)
    first = (turns_per_token * 2**_BITS).floor() / 2**_BITS
    second = ((turns_per_token - first) * 4**_BITS).floor() / 4**_BITS
    parts = torch.stack((first, second, turns_per_token - first - second), dim=-1).float()
    products = positions[..., None] * parts[:, None]  # (..., R/2, 2, 3)
    return (products - products.round()).sum(dim=(-2, -1))
