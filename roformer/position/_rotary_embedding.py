"""RoPE as a layer for other models, for texts and for grids.

Source: as ``rope``; several axes as in Heo et al. 2024, arXiv:2403.13298 (axial frequencies).
Checked against: Llama in transformers, and one ``rope`` for each axis.
"""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import ModelShape
from roformer.position._frequencies import frequencies
from roformer.position.rope import Layout, RotaryPositionEncoding


class RotaryEmbedding(RotaryPositionEncoding):
    """RoPE for other models: ``RotaryEmbedding(head_dim=64)(query, key)``.

    Args:
        head_dim: D.
        rope_theta, layout, partial_rotary_factor: as in ``RotaryPositionEncoding``.
        num_axes: n, the coordinates of a position: 1 in a text, 2 in an image. Each turns its share of the pairs, the
            first coordinate the first ones, as a ``rope`` of R/n channels would; ``position_ids`` are (L, n) or
            (B or 1, L, n).

    Raises:
        UserError: as ``rope`` does, or if the axes cannot have equally many pairs.
    """

    def __init__(
        self,
        head_dim: int,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        num_axes: int = 1,
    ) -> None:
        shape = ModelShape(hidden_size=head_dim)
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if num_axes < 1 or self.rotary_size % (2 * num_axes):
            raise UserError(
                f"num_axes={num_axes} cannot share {self.rotary_size} rotated channels in pairs; change num_axes, "
                "head_dim or partial_rotary_factor"
            )
        self.num_axes = num_axes

    def frequencies(self, position_ids: Tensor) -> Tensor:
        return frequencies(self.rotary_size // self.num_axes, self.rope_theta, position_ids.device)

    def angles(self, position_ids: Tensor) -> Tensor:
        angles = super().angles
        if self.num_axes == 1:
            return angles(position_ids)
        return torch.cat([angles(axis) for axis in position_ids.unbind(-1)], dim=-1)

    def _positions(self, position_ids: Tensor | None, offset: int, key: Tensor, keys: int) -> Tensor:
        positions = super()._positions
        if self.num_axes == 1:
            return positions(position_ids, offset, key, keys)
        if position_ids is None or position_ids.shape[-1] != self.num_axes:
            given = None if position_ids is None else tuple(position_ids.shape)
            raise UserError(
                f"with num_axes={self.num_axes} give position_ids of shape (length, {self.num_axes}), got {given}"
            )
        return torch.stack([positions(axis, offset, key, keys) for axis in position_ids.unbind(-1)], dim=-1)
