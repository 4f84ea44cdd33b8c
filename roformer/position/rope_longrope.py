"""RoPE with a factor for each pair (LongRoPE).

Source: Ding et al. 2024, arXiv:2402.13753, section 3.3; the attention factor as in Phi-3.
Checked against: ``longrope`` in transformers.
"""

import math

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_longrope")
class LongRotaryPositionEncoding(RotaryPositionEncoding):
    """Divides theta_i by a factor of its own: one list for texts up to ``original_length``, one for longer ones. The
    paper searches for these; attention is sharper by 1 + ln factor / ln original_length.

    Documents of a batch share the list that the longest of them needs.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: length to reach over length trained at.
        original_length: tokens trained at.
        short_factors: R/2 numbers; None for 1 each.
        long_factors: R/2 numbers; None for ``factor`` each.

    Raises:
        UserError: as ``rope`` does, or if a list has not a number for each pair.
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
        short_factors: list[float] | None = None,
        long_factors: list[float] | None = None,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        if not factor >= 1 or original_length < 2:
            raise UserError(
                "rope_longrope needs factor of at least 1 and original_length of at least 2, got "
                f"{factor} and {original_length}"
            )
        pairs = self.rotary_size // 2
        self.short_factors = short_factors or [1.0] * pairs
        self.long_factors = long_factors or [float(factor)] * pairs
        for name, factors in (("short_factors", self.short_factors), ("long_factors", self.long_factors)):
            if len(factors) != pairs or not min(factors) > 0:
                raise UserError(f"rope_longrope: {name} needs {pairs} positive numbers, one a pair, got {factors}")
        self.original_length = original_length
        self.magnitude = math.sqrt(1 + math.log(factor) / math.log(original_length))

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        short, long = (frequencies.new_tensor(factors) for factors in (self.short_factors, self.long_factors))
        return frequencies / torch.where(self.reach(position_ids) > self.original_length, long, short)
