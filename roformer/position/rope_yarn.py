"""RoPE with YaRN.

Source: Peng et al. 2023, arXiv:2309.00071, section 3.2 (eq. 18 to 20) and 3.3 (eq. 21 and 22).
Checked against: ``yarn`` in transformers.
"""

import math

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_yarn")
class YarnRotaryPositionEncoding(RotaryPositionEncoding):
    """Divides by ``factor`` the frequencies of pairs that make less than ``beta_slow`` turns over the original length,
    keeps those that make more than ``beta_fast``, and interpolates in between; scores grow by (0.1 ln factor + 1)^2.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: target length / training length.
        original_max_position_embeddings: training length in tokens.
        beta_fast, beta_slow: in turns over the original length; beta and alpha of the paper.

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
        factor: float = 4.0,
        original_max_position_embeddings: int = 512,
        beta_fast: float = 32.0,
        beta_slow: float = 1.0,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if not factor >= 1 or original_max_position_embeddings < 1 or not beta_fast > beta_slow > 0:
            raise UserError(
                "rope_yarn needs factor and original_max_position_embeddings of at least 1 and beta_fast > beta_slow "
                f"> 0, got {factor}, {original_max_position_embeddings}, {beta_fast} and {beta_slow}"
            )
        self.factor, self.original_max_position_embeddings = factor, original_max_position_embeddings
        self.beta_fast, self.beta_slow = beta_fast, beta_slow
        self.attention_scaling = 0.1 * math.log(factor) + 1

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        low = max(math.floor(self._pair_with(self.beta_fast)), 0)
        high = min(math.ceil(self._pair_with(self.beta_slow)), self.rotary_size - 1)
        pairs = torch.arange(len(frequencies), dtype=frequencies.dtype, device=position_ids.device)
        slowed = ((pairs - low) / max(high - low, 1e-3)).clamp(0, 1)
        return frequencies * (slowed / self.factor + 1 - slowed)

    def _pair_with(self, turns: float) -> float:
        """Returns the number of the pair, from 0, that makes so many turns over the original length."""
        return (
            self.rotary_size
            * math.log(self.original_max_position_embeddings / (turns * 2 * math.pi))
            / (2 * math.log(self.rope_theta))
        )
