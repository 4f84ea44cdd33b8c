"""Shared by encodings of relative positions: m - n for each query at m and key at n, and lookup by it."""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import PositionState


def positions_state(position_ids: Tensor) -> PositionState:
    """Maps positions (B or 1, L) to themselves, as (B or 1, 1, L, 1) in float32: exact up to 2^24."""
    return (position_ids[:, None, :, None].float(),)


def relative_positions(state: PositionState, query: Tensor, counted: bool = False) -> Tensor:
    """Returns m - n, (B or 1, 1, Q, L): query m in the rows, key n in the columns.

    One matrix serves all rows of a batch where they have the same positions, as packed documents of one length have.

    Args:
        state: from ``positions_state``, of the L tokens.
        query: (B, H, Q, anything), one row for each of the last Q tokens.
        counted: of the encoding: whether all rows are known to have the same positions.
    """
    (positions,) = state
    if counted or (positions.shape[0] > 1 and not torch.compiler.is_compiling() and _are_alike(positions)):
        positions = positions[:1]
    return positions[:, :, -query.shape[2] :] - positions.mT


def _are_alike(positions: Tensor) -> bool:
    return bool((positions == positions[:1]).all())


def clip_and_shift(distance: Tensor, furthest: int) -> Tensor:
    """Clips distances to [-``furthest``, ``furthest``] and shifts them to whole numbers from 0 to 2 ``furthest``."""
    return distance.round().clamp(-furthest, furthest).long() + furthest


def unique_offsets(distance: Tensor, name: str, counted: bool = False) -> tuple[Tensor, Tensor]:
    """Returns all distances that occur, lowest to highest (K,), and the index of each in that list, (B or 1, 1, Q, L).

    Args:
        distance: (B or 1, 1, Q, L).
        name: of the encoding.
        counted: of the encoding: whether queries and keys are known to be at 0 ... L - 1.

    Raises:
        UserError: if a distance is fractional.
    """
    if counted:
        furthest = distance.shape[-1] - 1
        return torch.arange(-furthest, furthest + 1, device=distance.device), distance.long() + furthest
    if not torch.compiler.is_compiling() and bool((distance != distance.round()).any()):
        raise UserError(f"{name} takes whole positions; fractional position_ids need rope, alibi or fire")
    distance = distance.long()
    lowest, highest = distance.min().item(), distance.max().item()  # int() would ask torch.export for the number
    torch._check(lowest <= highest)  # for torch.export, which knows neither
    return torch.arange(lowest, highest + 1, device=distance.device), distance - lowest


def gather_bias(scores: Tensor, index: Tensor) -> Tensor:
    """Picks from (B, H, Q, K) scores, for each query and key, the one at ``index`` (B or 1, 1, Q, L)."""
    return scores.gather(-1, index.expand(*scores.shape[:2], -1, -1))
