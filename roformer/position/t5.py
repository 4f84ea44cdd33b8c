"""Relative position buckets, as in T5.

Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1.
Checked against: T5 in transformers.
"""

import math

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import positions_state, relative_positions


@POSITION_ENCODINGS.register("t5")
class T5PositionEncoding(PositionEncoding):
    """Adds a trained number per bucket of distances and head to the scores, the same in all layers.

    In an encoder half of the buckets are for keys after the query. Of those of a side, half hold one distance each;
    the others grow logarithmically up to ``max_distance`` tokens, and the last one holds all larger distances.

    Args:
        shape: sizes of the model.
        num_buckets: in total.
        max_distance: in tokens.

    Raises:
        UserError: if there are less than four buckets or an odd number, or they reach beyond ``max_distance``.
    """

    traits = Traits(shift_invariant=True, causal="own_parameters", positional_bias=True)

    def __init__(self, shape: ModelShape, *, num_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        exact = num_buckets // (2 if shape.causal else 4)
        if num_buckets < 4 or num_buckets % 4 or max_distance <= exact:
            raise UserError(
                f"t5: num_buckets must be a multiple of 4 and max_distance above the {exact} that have one each, got "
                f"{num_buckets} and {max_distance}"
            )
        self.num_buckets, self.max_distance, self.both_sides = num_buckets, max_distance, not shape.causal
        self.table = nn.Embedding(num_buckets, shape.num_attention_heads)

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        distance = relative_positions(state, query, self.counted)
        numbers = bucket(
            distance, num_buckets=self.num_buckets, max_distance=self.max_distance, both_sides=self.both_sides
        )
        bias: Tensor = self.table.weight.T[:, numbers[:, 0]]
        return bias.transpose(0, 1)


def bucket(distance: Tensor, *, num_buckets: int, max_distance: int, both_sides: bool) -> Tensor:
    """Maps distances m - n of queries m and keys n to whole numbers from 0 to ``num_buckets`` - 1."""
    side = num_buckets // 2 if both_sides else num_buckets
    exact = side // 2
    far = (distance.abs() if both_sides else distance.clamp(min=0)).round()
    grown = (far.clamp(min=1) / exact).log() / math.log(max_distance / exact) * (side - exact)
    number = torch.where(far < exact, far, (exact + grown.floor()).clamp(max=side - 1)).long()
    return number + side * (distance < 0) if both_sides else number
