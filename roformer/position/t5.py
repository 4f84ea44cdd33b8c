"""Relative position buckets, as in T5.

Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1.
Checked against: T5 in transformers.
"""

import math

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState
from roformer.position._relative import distances, positions_state


@POSITION_ENCODINGS.register("t5")
class T5PositionEncoding(PositionEncoding):
    """Adds a trained number a bucket of distances and head to the scores, the same in all layers.

    Half of the buckets are for keys after the query. Of each half, half hold one distance each; the others grow
    logarithmically up to ``max_distance`` tokens, and the last one holds what is further away.

    Args:
        shape: sizes of the model.
        buckets: for both sides together.
        max_distance: in tokens.

    Raises:
        UserError: if there are less than four buckets or an odd number, or they reach beyond ``max_distance``.
    """

    shift_invariant = True

    def __init__(self, shape: ModelShape, *, buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        if buckets < 4 or buckets % 4 or max_distance <= buckets // 4:
            raise UserError(
                f"t5: buckets must be a multiple of 4 and max_distance above a quarter of it, got {buckets} and "
                f"{max_distance}"
            )
        self.buckets, self.max_distance = buckets, max_distance
        self.table = nn.Embedding(buckets, shape.num_attention_heads)

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        buckets = bucket(distances(*state), buckets=self.buckets, max_distance=self.max_distance)
        bias: Tensor = self.table.weight.T[:, buckets[:, 0]]
        return bias.transpose(0, 1)


def bucket(distance: Tensor, *, buckets: int, max_distance: int) -> Tensor:
    """Maps distances m - n of queries m and keys n to whole numbers from 0 to ``buckets`` - 1."""
    side = buckets // 2
    exact = side // 2
    far = distance.abs().round()
    grown = (far.clamp(min=1) / exact).log() / math.log(max_distance / exact) * (side - exact)
    number = torch.where(far < exact, far, (exact + grown.floor()).clamp(max=side - 1)).long()
    return number + side * (distance < 0)
