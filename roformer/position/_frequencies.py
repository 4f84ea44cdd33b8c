"""The frequencies that sinusoidal and rotary encodings share."""

import torch
from torch import Tensor


def frequencies(size: int, base: float, device: torch.device) -> Tensor:
    """Returns base^(-2i/size), i = 0 ... size/2 - 1, radians per token (eq. 4 and 15 of the paper), (size/2,).

    In float64 where the device has it: a position in the thousands times a float32 angle is off by too much.
    """
    precise = torch.float32 if device.type == "mps" else torch.float64
    return base ** (-torch.arange(0, size, 2, dtype=precise, device=device) / size)
