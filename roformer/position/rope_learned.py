"""RoPE with trained frequencies.

Source: RoFormer paper, section 3.4.2, which fixes theta_i; here they start there and are trained.
Checked against: ``rope``, at the start.
"""

import torch
from torch import Tensor, nn

from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_learned")
class LearnedRotaryPositionEncoding(RotaryPositionEncoding):
    """As ``rope``, but with R/2 trained frequencies, shared by all layers and heads. The parameter is the logarithm of
    a factor on each, which rounding to bfloat16 hurts less than the frequency itself.

    Args:
        shape, layout, partial_rotary_factor: as in ``rope``.
        rope_theta: of the initial frequencies.

    Raises:
        UserError: as ``rope`` does.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        self.log_change = nn.Parameter(torch.zeros(self.rotary_size // 2))

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        return frequencies * self.log_change.to(frequencies.dtype).exp()
