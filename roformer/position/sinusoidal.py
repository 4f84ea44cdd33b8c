"""Sinusoidal absolute positions.

Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; RoFormer paper, eq. 4.
Checked against: the formula channel by channel.
"""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, Traits
from roformer.position._frequencies import angles_at, frequencies


@POSITION_ENCODINGS.register("sinusoidal")
class SinusoidalPositionEncoding(PositionEncoding):
    """Adds fixed sines and cosines of the position to the token embeddings.

    Args:
        shape: sizes of the model; E = ``shape.embedding_size``.
        base: wavelengths run from 2 pi to 2 pi base tokens; 10000 in the paper.
        scale: factor on the waves; 1 is eq. 4 to the letter. Its authors scale token embeddings up to about that
            size, but BERT's start at a standard deviation of 0.02, negligible next to such waves; hence the default.

    Raises:
        UserError: if the embedding size is odd or the base is not above 1.
    """

    traits = Traits(shift_invariant=False)

    def __init__(self, shape: ModelShape, *, base: float = 10000.0, scale: float = 0.02) -> None:
        super().__init__()
        self.size = shape.embedding_size or shape.hidden_size
        if self.size % 2:
            raise UserError(f"sinusoidal positions need an even embedding size, got {self.size}")
        if not base > 1:  # nan, too
            raise UserError(f"sinusoidal: base must be above 1, got {base}")
        self.base, self.scale = base, scale

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        thetas = frequencies(self.size, self.base, position_ids.device)
        angles = angles_at(position_ids[..., None], thetas)
        waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)  # sin at 2t, cos at 2t + 1
        return hidden_states + self.scale * waves.to(hidden_states.dtype)
