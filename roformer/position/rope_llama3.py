"""RoPE as Llama 3.1 scales it.

Source: Llama Team 2024, arXiv:2407.21783, with the rule that was released with its code.
Checked against: ``llama3`` in transformers.
"""

import math

from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_llama3")
class Llama3RotaryPositionEncoding(RotaryPositionEncoding):
    """Divides by ``factor`` the frequencies of pairs that make less than ``low_freq_factor`` turns over the original
    length, keeps those that make more than ``high_freq_factor``, and interpolates in between, linearly in the turns.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: target length / training length.
        original_max_position_embeddings: training length in tokens.
        low_freq_factor, high_freq_factor: in turns over the original length; 1 and 4 in Llama 3.1.

    Raises:
        UserError: as ``rope`` does, or if a number is out of range.
    """

    scales = RotaryPositionEncoding

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        factor: float = 8.0,
        original_max_position_embeddings: int = 512,
        low_freq_factor: float = 1.0,
        high_freq_factor: float = 4.0,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if not factor >= 1 or original_max_position_embeddings < 1 or not high_freq_factor > low_freq_factor > 0:
            raise UserError(
                "rope_llama3 needs factor and original_max_position_embeddings of at least 1 and high_freq_factor > "
                f"low_freq_factor > 0, got {factor}, {original_max_position_embeddings}, {high_freq_factor} and "
                f"{low_freq_factor}"
            )
        self.factor, self.original_max_position_embeddings = factor, original_max_position_embeddings
        self.low_freq_factor, self.high_freq_factor = low_freq_factor, high_freq_factor

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        turns = self.original_max_position_embeddings * frequencies / (2 * math.pi)
        kept = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0, 1)
        return frequencies * (kept + (1 - kept) / self.factor)
