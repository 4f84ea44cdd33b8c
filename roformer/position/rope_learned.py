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
    """As ``rope``, but the R/2 angles a token are trained, shared by all layers and heads: the logarithm of what each
    is multiplied by, which a rounding to bfloat16 hurts less than the angle itself.

    Args:
        shape, layout, partial_factor: as in ``rope``.
        base: of the frequencies at the start.

    Raises:
        UserError: as ``rope`` does.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        base: float = 10000.0,
        layout: Layout = "interleaved",
        partial_factor: float = 1.0,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        self.log_change = nn.Parameter(torch.zeros(self.rotary_size // 2))

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        return frequencies * self.log_change.to(frequencies.dtype).exp()
