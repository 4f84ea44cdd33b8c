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
    """Slows down the pairs that turn less than ``low_turns`` times over the original length by ``factor``, leaves
    those that turn more than ``high_turns`` times alone, and mixes in between, linearly in the number of turns.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: length to reach over length trained at.
        original_length: tokens trained at.
        low_turns, high_turns: ``low_freq_factor`` and ``high_freq_factor`` of Llama.

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
        factor: float = 8.0,
        original_length: int = 512,
        low_turns: float = 1.0,
        high_turns: float = 4.0,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        if not factor >= 1 or original_length < 1 or not high_turns > low_turns > 0:
            raise UserError(
                "rope_llama3 needs factor and original_length of at least 1 and high_turns > low_turns > 0, got "
                f"{factor}, {original_length}, {high_turns} and {low_turns}"
            )
        self.factor, self.original_length = factor, original_length
        self.low_turns, self.high_turns = low_turns, high_turns

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        turns = self.original_length * frequencies / (2 * math.pi)
        kept = ((turns - self.low_turns) / (self.high_turns - self.low_turns)).clamp(0, 1)
        return frequencies * (kept + (1 - kept) / self.factor)
