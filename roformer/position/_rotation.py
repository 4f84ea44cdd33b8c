"""Rotation of pairs of channels: eq. 34 of the paper.

Shapes: D channels, R of them rotated, P = R/2 pairs.
"""

from typing import Any

import torch
from torch import Tensor

from roformer.position._base import PositionState

_PIECE = 1 << 18  # numbers in float32 that are rotated at a time: 1 MiB, which stays in the cache of a core


def rotate_interleaved(x: Tensor, turn: PositionState) -> Tensor:
    """Rotates the pairs (x[2i], x[2i+1]) of (..., L, R) by ``turn``; see ``rotate_half``.

    Args:
        turn: e^(i angle), (..., L, P), complex: the four products of eq. 34 then read and write memory once. Or cos
            and sin, in a graph for runtimes that know no complex numbers.
    """
    if len(turn) == 1:
        if x.numel() <= _PIECE or turn[0].requires_grad:  # learned frequencies
            return _as_numbers(_as_complex(x, copy=False) * turn[0]).to(x.dtype)
        return _Rotation.apply(x, turn[0])  # type: ignore[no-untyped-call]
    precise = torch.promote_types(x.dtype, torch.float32)
    first, second = x.to(precise).unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack(_rotated(first, second, turn, x.dtype), dim=-1).flatten(-2)


class _Rotation(torch.autograd.Function):
    """Eq. 34 with fixed frequencies, some tokens at a time, each in place; the gradient is turned back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, turn: Tensor) -> Tensor:
        rotated = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        tokens = max(1, _PIECE * x.shape[-2] // max(1, x.numel()))
        for into, part, by in zip(*(each.split(tokens, dim=-2) for each in (rotated, x, turn)), strict=True):
            into.copy_(_as_numbers(_as_complex(part, copy=True).mul_(by)))
        return rotated

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (turn,) = ctx.saved_tensors
        return _Rotation.apply(grad_output, turn.conj().resolve_conj()), None  # type: ignore[no-untyped-call]


def _as_complex(x: Tensor, *, copy: bool) -> Tensor:
    """(..., L, R) -> (..., L, P), complex."""
    precise = torch.promote_types(x.dtype, torch.float32)
    pairs = x.to(precise, memory_format=torch.contiguous_format, copy=copy).contiguous().unflatten(-1, (-1, 2))
    return torch.view_as_complex(pairs)


def _as_numbers(pairs: Tensor) -> Tensor:
    """(..., L, P), complex -> (..., L, R)"""
    return torch.view_as_real(pairs).flatten(-2)


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
