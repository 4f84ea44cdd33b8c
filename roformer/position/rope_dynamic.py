"""RoPE whose base follows the length of the text ("dynamic NTK").

Source: emozilla 2023, as in Peng et al. 2023, arXiv:2309.00071, section 3.4.
Checked against: ``dynamic`` in transformers.
"""

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_dynamic")
class DynamicRotaryPositionEncoding(RotaryPositionEncoding):
    """Raises ``rope_theta`` as ``rope_ntk`` does, but only for texts beyond
    ``original_max_position_embeddings``, and the more the longer they are.

    Documents of a batch share the frequencies of the longest of them.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: how fast ``rope_theta`` grows with the length.
        original_max_position_embeddings: training length in tokens.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1 or only one pair is rotated.
    """

    scales = RotaryPositionEncoding
    follows_length = True

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        factor: float = 4.0,
        original_max_position_embeddings: int = 512,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if self.rotary_size == 2:
            raise UserError(
                "rope_dynamic needs two pairs of channels at least: widen the heads or raise partial_rotary_factor"
            )
        if not factor >= 1 or original_max_position_embeddings < 1:  # nan, too
            raise UserError(
                "rope_dynamic: factor and original_max_position_embeddings must be at least 1, got "
                f"{factor} and {original_max_position_embeddings}"
            )
        self.factor, self.original_max_position_embeddings = factor, original_max_position_embeddings

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        extension = self.max_extent(position_ids) / self.original_max_position_embeddings
        growth = self.factor * extension.clamp(min=1).to(frequencies.dtype) - (self.factor - 1)
        # theta_i of rope_theta x growth^(R / (R - 2)) is theta_i x growth^(-2 i / (R - 2))
        exponents = torch.arange(0, self.rotary_size, 2, dtype=frequencies.dtype, device=position_ids.device)
        return frequencies * growth ** (-exponents / (self.rotary_size - 2))
