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
    """Divides each theta_i by its own factor: from one list up to ``original_max_position_embeddings`` tokens, from
    another for longer texts. The paper searches for these lists. Scores grow by 1 + ln factor / ln (original length).

    All documents of a batch use the list that the longest of them needs.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: target length / training length.
        original_max_position_embeddings: training length in tokens.
        short_factor: R/2 numbers; None for all 1.
        long_factor: R/2 numbers; None for all ``factor``.

    Raises:
        UserError: as ``rope`` does, or if a list has not a number for each pair.
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
        short_factor: list[float] | None = None,
        long_factor: list[float] | None = None,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if not factor >= 1 or original_max_position_embeddings < 2:
            raise UserError(
                "rope_longrope needs factor of at least 1 and original_max_position_embeddings of at least 2, got "
                f"{factor} and {original_max_position_embeddings}"
            )
        pairs = self.rotary_size // 2
        self.short_factor = short_factor or [1.0] * pairs
        self.long_factor = long_factor or [float(factor)] * pairs
        for name, factors in (("short_factor", self.short_factor), ("long_factor", self.long_factor)):
            if len(factors) != pairs or not min(factors) > 0:
                raise UserError(f"rope_longrope: {name} needs {pairs} positive numbers, one per pair, got {factors}")
        self.original_max_position_embeddings = original_max_position_embeddings
        self.attention_scaling = math.sqrt(1 + math.log(factor) / math.log(original_max_position_embeddings))

    def frequencies(self, position_ids: Tensor) -> Tensor:
        frequencies = super().frequencies(position_ids)
        short, long = (frequencies.new_tensor(factors) for factors in (self.short_factor, self.long_factor))
        longer = self.max_extent(position_ids) > self.original_max_position_embeddings
        return frequencies / torch.where(longer, long, short)
