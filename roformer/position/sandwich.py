"""Sandwich: the products of sinusoidal positions as a bias that knows no training length.

Source: Chi et al. 2023, arXiv:2212.10356, section 5.
Checked against: the formula token by token.
"""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._frequencies import angles_at, frequencies


@POSITION_ENCODINGS.register("sandwich")
class SandwichPositionEncoding(PositionEncoding):
    """Adds (p_m p_n - S / 2) H / (8 h) in head h = 1 ... H, p the S sinusoidal channels of a position (eq. 4 of the
    RoFormer paper): the greatest value, 0, is at distance 0.

    Args:
        shape: sizes of the model.
        size: S; the larger, the steeper near the query.
        base: wavelengths run from 2 pi to 2 pi base tokens.

    Raises:
        UserError: if the size is odd or not positive, or the base is not above 1.
    """

    traits = Traits(shift_invariant=True, positional_bias=True)

    def __init__(self, shape: ModelShape, *, size: int = 128, base: float = 10000.0) -> None:
        super().__init__()
        if size < 2 or size % 2:
            raise UserError(f"sandwich: size must be even and positive, got {size}")
        if not base > 1:  # nan, too
            raise UserError(f"sandwich: base must be above 1, got {base}")
        self.heads, self.size, self.base = shape.num_attention_heads, size, base

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions (B or 1, L) to their waves, (B or 1, 1, L, S)."""
        thetas = frequencies(self.size, self.base, position_ids.device)
        angles = angles_at(position_ids[:, None, :, None], thetas)
        return (torch.cat((angles.sin(), angles.cos()), dim=-1).float(),)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        (waves,) = state
        with torch.autocast(waves.device.type, enabled=False):
            products = waves[:, :, -query.shape[2] :] @ waves.mT - self.size / 2
        heads = torch.arange(1, self.heads + 1, device=waves.device)
        return products * (self.heads / (8 * heads))[:, None, None]
