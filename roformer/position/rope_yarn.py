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
    """Slows down the pairs that turn less than ``slow_turns`` times over the original length by ``factor``, leaves
    those that turn more than ``fast_turns`` times alone, and mixes in between; scores grow by (0.1 ln factor + 1)^2.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: length to reach over length trained at.
        original_length: tokens trained at.
        fast_turns, slow_turns: beta and alpha of the paper.

    Raises:
        UserError: as ``rope`` does, or if a number is out of range.
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
        fast_turns: float = 32.0,
        slow_turns: float = 1.0,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        if not factor >= 1 or original_length < 1 or not fast_turns > slow_turns > 0:
            raise UserError(
                "rope_yarn needs factor and original_length of at least 1 and fast_turns > slow_turns > 0, got "
                f"{factor}, {original_length}, {fast_turns} and {slow_turns}"
            )
        self.factor, self.original_length = factor, original_length
        self.fast_turns, self.slow_turns = fast_turns, slow_turns
        self.magnitude = 0.1 * math.log(factor) + 1

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        low = max(math.floor(self._pair_with(self.fast_turns)), 0)
        high = min(math.ceil(self._pair_with(self.slow_turns)), self.rotary_size - 1)
        pairs = torch.arange(len(frequencies), dtype=frequencies.dtype, device=position_ids.device)
        slowed = ((pairs - low) / max(high - low, 1e-3)).clamp(0, 1)
        return frequencies * (slowed / self.factor + 1 - slowed)

    def _pair_with(self, turns: float) -> float:
        """Returns the number of the pair, from 0, that turns so many times over the original length."""
        return self.rotary_size * math.log(self.original_length / (turns * 2 * math.pi)) / (2 * math.log(self.base))
