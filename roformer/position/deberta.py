"""Disentangled attention, as in DeBERTa.

Source: He et al. 2021, arXiv:2006.03654, section 3.1 (eq. 4); RoFormer paper, eq. 10.
Checked against: DeBERTa-v2 in transformers.
"""

from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import gather_bias, positions_state, relative_positions


@POSITION_ENCODINGS.register("deberta")
class DebertaPositionEncoding(PositionEncoding):
    """Adds content to position and position to content: q_m k'_{m-n} + q'_{n-m} k_n, with k' and q' projected, in each
    layer, from one trained table of clipped distances. The three terms share the variance: sqrt(3 D).

    Args:
        shape: sizes of the model.
        max_distance: k; the table has a row for each distance from -k to k - 1 tokens.

    Raises:
        UserError: if the distance is not positive.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, max_distance: int = 128) -> None:
        super().__init__()
        if max_distance < 1:
            raise UserError(f"deberta: max_distance must be positive, got {max_distance}")
        self.max_distance, self.heads, size = max_distance, shape.num_attention_heads, shape.hidden_size
        self.table = nn.Embedding(2 * max_distance, size)
        self.keys = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(shape.num_hidden_layers))
        self.queries = nn.ModuleList(nn.Linear(size, size) for _ in range(shape.num_hidden_layers))

    def softmax_scale(self, head_size: int) -> float:
        return (3 * head_size) ** -0.5

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        distance = relative_positions(state, query, self.counted).round().long()
        to_row = (distance + self.max_distance).clamp(0, 2 * self.max_distance - 1)
        content_to_position = gather_bias(query @ self._heads(self.keys[layer], query).mT, to_row)
        # key n asks for m - n as well, so that the row of (n, m) is that of (m, n)
        position_to_content = gather_bias(key @ self._heads(self.queries[layer], key).mT, to_row.mT).mT
        return (content_to_position + position_to_content) * self.softmax_scale(query.shape[-1])

    def _heads(self, project: nn.Module, like: Tensor) -> Tensor:
        """Returns (H, 2 k, D)."""
        rows: Tensor = project(self.table.weight).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        return rows.to(like.dtype)
