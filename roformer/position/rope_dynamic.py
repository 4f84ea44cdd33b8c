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
    """Raises the base as ``rope_ntk`` does, for texts beyond ``original_length`` only, the more the longer they are.

    Documents of a batch share the frequencies of the longest of them.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: how fast the base grows with the length.
        original_length: tokens trained at.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1 or only one pair is rotated.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        base: float = 10000.0,
        layout: Layout = "interleaved",
        partial_factor: float = 1.0,
        factor: float = 4.0,
        original_length: int = 512,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        if self.rotary_size == 2:
            raise UserError(
                "rope_dynamic needs two pairs of channels at least: widen the heads or raise partial_factor"
            )
        if not factor >= 1 or original_length < 1:  # nan, too
            raise UserError(
                f"rope_dynamic: factor and original_length must be at least 1, got {factor} and {original_length}"
            )
        self.factor, self.original_length = factor, original_length

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        stretch = (self.reach(position_ids) / self.original_length).clamp(min=1).to(frequencies.dtype)
        growth = self.factor * stretch - (self.factor - 1)
        # theta_i of base x growth^(R / (R - 2)) is theta_i x growth^(-2 i / (R - 2))
        exponents = torch.arange(0, self.rotary_size, 2, dtype=frequencies.dtype, device=position_ids.device)
        return frequencies * growth ** (-exponents / (self.rotary_size - 2))
