"""Trained vectors of clipped distances, for keys and values.

Source: Shaw et al. 2018, arXiv:1803.02155, section 3.2; RoFormer paper, eq. 5.
Checked against: the formula token by token.
"""

from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import clip_and_shift, gather_bias, positions_state, relative_positions


@POSITION_ENCODINGS.register("shaw")
class ShawPositionEncoding(PositionEncoding):
    """Adds to each key, and each value, a trained vector of its distance to the query, one per distance and layer.

    Args:
        shape: sizes of the model.
        max_distance: in tokens; all larger distances share a vector.

    Raises:
        UserError: if the distance is not positive.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, max_distance: int = 16) -> None:
        super().__init__()
        if max_distance < 1:
            raise UserError(f"shaw: max_distance must be positive, got {max_distance}")
        self.max_distance = max_distance
        rows = shape.num_hidden_layers * (2 * max_distance + 1)
        self.keys = nn.Embedding(rows, shape.head_size)
        self.values = nn.Embedding(rows, shape.head_size)

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        scores = query @ self._table(self.keys, layer).to(query.dtype).T * self.softmax_scale(query.shape[-1])
        return gather_bias(scores, clip_and_shift(relative_positions(state, query, self.counted), self.max_distance))

    def value_bias(self, weights: Tensor, state: PositionState, *, layer: int) -> Tensor:
        """Sums the weights of each distance before it takes the vectors: (B, H, Q, L) -> (B, H, Q, 2 max + 1)."""
        table = self._table(self.values, layer).to(weights.dtype)
        index = clip_and_shift(relative_positions(state, weights, self.counted), self.max_distance).expand_as(weights)
        return weights.new_zeros(*weights.shape[:-1], len(table)).scatter_add(-1, index, weights) @ table

    def _table(self, embedding: nn.Embedding, layer: int) -> Tensor:
        table: Tensor = embedding.weight.unflatten(0, (-1, 2 * self.max_distance + 1))[layer]
        return table
