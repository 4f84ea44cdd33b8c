"""Extrapolatable positions (xPos): RoPE with a decay.

Source: Sun et al. 2022, arXiv:2212.10554, section 3 (algorithm 1).
Checked against: ``RotaryEmbedding`` of x-transformers.
"""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionState, Traits
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("xpos")
class XposPositionEncoding(RotaryPositionEncoding):
    """As ``rope``, with queries multiplied by zeta_i^(m / scale_base) and keys by zeta_i^(-n / scale_base),
    zeta_i = (2 i / R + gamma) / (1 + gamma): the product decays with m - n where a key stands before its query.

    It is made for decoders. In an encoder the product of a key after its query grows with the distance; it is here
    because people ask what comes of it.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        scale_base: tokens; the larger, the slower the decay.
        gamma: the larger, the more similar the decay of all pairs.

    Raises:
        UserError: as ``rope`` does, or if one of the last two is not positive.
    """

    traits = Traits(shift_invariant=True, rotation="decaying", pointwise=False)

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        scale_base: float = 512.0,
        gamma: float = 0.4,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if not scale_base > 0 or not gamma > 0:  # nan, too
            raise UserError(f"xpos: scale_base and gamma must be positive, got {scale_base} and {gamma}")
        self.scale_base, self.gamma = scale_base, gamma

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Returns what queries and then what keys are multiplied by, each as in ``rope``."""
        turn = super().prepare(position_ids)
        with torch.autocast(position_ids.device.type, enabled=False):
            pairs = torch.arange(0, self.rotary_size, 2, device=position_ids.device) / self.rotary_size
            zeta = (pairs + self.gamma) / (1 + self.gamma)
            # in the middle of the text, for its ends would be out of range; the product is the same
            middle = position_ids.max() // 2
            growth = zeta ** ((position_ids[:, None, :, None] - middle) / self.scale_base)
            return (*(each * growth for each in turn), *(each / growth for each in turn))

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        return super().rotate(x, state[: len(state) // 2])

    def rotate_key(self, x: Tensor, state: PositionState) -> Tensor:
        return super().rotate(x, state[len(state) // 2 :])
