"""Contextual positions (CoPE), for encoders.

Source: Golovneva et al. 2024, arXiv:2405.18719, section 4 (eq. 3 to 5).
Checked against: ``CoPE`` of x-transformers (keys before the query), and the formula token by token (keys after it).
"""

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits


@POSITION_ENCODINGS.register("cope")
class ContextualPositionEncoding(PositionEncoding):
    """Counts what matters to the query instead of all tokens: each token from the key to the query counts
    sigmoid(q k / sqrt(D)); their sum chooses, with interpolation, among trained vectors of whole counts, whose product
    with the query is added to the score.

    The paper's decoders have no keys after the query. In an encoder these are counted from the query on, and have
    vectors of their own. It goes by the order of the tokens in their document, not by ``position_ids``.

    Args:
        shape: sizes of the model.
        max_count: what counts more shares a vector.

    Raises:
        UserError: if the count is not positive.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, max_count: int = 64) -> None:
        super().__init__()
        if max_count < 1:
            raise UserError(f"cope: max_count must be positive, got {max_count}")
        self.max_count = max_count
        rows = shape.num_hidden_layers * (max_count + 1)
        self.before = nn.Embedding(rows, shape.head_size)
        self.after = None if shape.causal else nn.Embedding(rows, shape.head_size)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        gates = (query @ key.mT * self.softmax_scale(query.shape[-1])).float().sigmoid()
        places = torch.arange(key.shape[2], device=query.device)
        distance = places[-query.shape[2] :, None] - places
        # of a key before the query all keys from it on count, of one after it all up to it
        counted_before = gates.where(distance >= 0, 0).flip(-1).cumsum(dim=-1).flip(-1)
        bias_before = self._interpolated(query, self.before, counted_before, layer)
        if self.after is None:
            return bias_before
        counted_after = gates.where(distance <= 0, 0).cumsum(dim=-1)
        return torch.where(distance >= 0, bias_before, self._interpolated(query, self.after, counted_after, layer))

    def _interpolated(self, query: Tensor, embedding: nn.Embedding, counts: Tensor, layer: int) -> Tensor:
        table = embedding.weight.unflatten(0, (-1, self.max_count + 1))[layer]
        products = query @ table.to(query.dtype).T * self.softmax_scale(query.shape[-1])
        counts = counts.clamp(max=self.max_count)
        below, above = counts.floor().long(), counts.ceil().long()
        return torch.lerp(products.gather(-1, below).float(), products.gather(-1, above).float(), counts - below)
