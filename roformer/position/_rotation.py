"""Rotation of pairs of channels: eq. 34 of the paper.

Shapes: D channels, R of them rotated, P = R/2 pairs.
"""

import torch
from torch import Tensor

from roformer.position._base import PositionState


def rotate_interleaved(x: Tensor, turn: PositionState) -> Tensor:
    """Rotates the pairs (x[2i], x[2i+1]) of (..., L, R) by ``turn``; see ``rotate_half``.

    Args:
        turn: e^(i angle), (..., L, P), complex: the four products of eq. 34 then read and write memory once. Or cos
            and sin, in a graph for runtimes that know no complex numbers.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    if len(turn) == 1:
        x_precise = x.to(precise, memory_format=torch.contiguous_format).contiguous()
        rotated = torch.view_as_complex(x_precise.unflatten(-1, (-1, 2))) * turn[0]
        return torch.view_as_real(rotated).flatten(-2).to(x.dtype)
    first, second = x.to(precise).unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack(_rotated(first, second, turn, x.dtype), dim=-1).flatten(-2)


def rotate_half(x: Tensor, turn: PositionState) -> Tensor:
    """Rotates the pairs (x[i], x[i + P]) of (..., L, R), in float32 at least; the result has the dtype of ``x``.

    Args:
        turn: cos and sin of the angles, (..., L, P), in float32.
    """
    first, second = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
    return torch.cat(_rotated(first, second, turn, x.dtype), dim=-1)


def _rotated(first: Tensor, second: Tensor, turn: PositionState, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    cos, sin = turn
    # added to the first product in place: memory that is new has to be cleared first
    return (
        (first * cos).addcmul_(second, sin, value=-1).to(dtype),
        (second * cos).addcmul_(first, sin).to(dtype),
    )
