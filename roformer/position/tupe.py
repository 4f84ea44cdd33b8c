"""Untied positions, as in TUPE.

Source: Ke et al. 2021, arXiv:2006.15595, sections 3.1 and 3.2 (TUPE-R); RoFormer paper, eq. 9.
Checked against: the formula token by token, with T5's buckets.
"""

import dataclasses

import torch
from torch import Tensor, nn

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import positions_state
from roformer.position.learned import LearnedPositionEncoding
from roformer.position.t5 import T5PositionEncoding


@POSITION_ENCODINGS.register("tupe")
class TupePositionEncoding(PositionEncoding):
    """Adds (p_m U_q)(p_n U_k) + b_{m-n} to the scores, the same in all layers: p trained vectors of absolute
    positions, b a number per bucket of distances. Content and positions share the variance: sqrt(2 D).

    Args:
        shape: sizes of the model; the table of p has ``max_position_embeddings`` rows.
        untie_first: scores from and to the first token, [CLS], are two trained numbers per head instead: it stands for
            the whole text and not for a place in it.
        num_buckets, max_distance: of b, as in ``t5``.

    Raises:
        UserError: as ``t5`` does.
    """

    def __init__(
        self, shape: ModelShape, *, untie_first: bool = True, num_buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.heads, size = shape.num_attention_heads, shape.hidden_size
        self.absolute = LearnedPositionEncoding(dataclasses.replace(shape, embedding_size=size))
        self.norm = nn.LayerNorm(size)
        self.queries, self.keys = nn.Linear(size, size), nn.Linear(size, size)
        self.relative = T5PositionEncoding(shape, num_buckets=num_buckets, max_distance=max_distance)
        self.from_first = nn.Parameter(torch.zeros(self.heads, 1, 1)) if untie_first else None
        self.to_first = nn.Parameter(torch.zeros(self.heads, 1, 1)) if untie_first else None

    @property
    def traits(self) -> Traits:
        max_length = self.absolute.traits.max_length
        return dataclasses.replace(self.relative.traits, shift_invariant=False, max_length=max_length)

    def softmax_scale(self, head_size: int) -> float:
        return (2 * head_size) ** -0.5

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions (B or 1, L) to themselves and, twice, to (B or 1, H, L, D): p U_q and p U_k."""
        empty = self.norm.weight.new_zeros(*position_ids.shape, self.norm.weight.shape[0])
        vectors = self.norm(self.absolute.embed(empty, position_ids))
        heads = (each(vectors).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.queries, self.keys))
        return (*positions_state(position_ids), *heads)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        positions, queries, keys = state
        last = slice(-query.shape[2], None)
        bias = queries[:, :, last] @ keys.mT * self.softmax_scale(query.shape[-1])
        if self.from_first is not None and self.to_first is not None:
            first = positions == 0
            bias = torch.where(first.mT, self.to_first, bias)
            bias = torch.where(first[:, :, last], self.from_first, bias)
        return bias + self.relative.score_bias(query, key, (positions,), layer=layer)
