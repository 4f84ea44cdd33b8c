"""Randomized positions, around any other encoding.

Source: Ruoss et al. 2023, arXiv:2305.16843, section 3.
Checked against: positions rise within each document, and each comes up equally often.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState


@POSITION_ENCODINGS.register("randomized")
class RandomizedPositionEncoding(PositionEncoding):
    """In training, gives the tokens of each document positions drawn from 0 ... ``longest`` - 1, in their order, so
    that the encoding inside knows all of these before a text is that long. In evaluation positions are what they
    are (the paper draws them there, too; then no two passes would give the same result).

    Args:
        shape: sizes of the model; ``longest`` takes the place of ``max_position_embeddings``.
        of: settings of the encoding inside.
        longest: in tokens.

    Raises:
        UserError: if ``of`` is no position encoding, or another randomized one.
    """

    shift_invariant = False

    def __init__(self, shape: ModelShape, *, of: dict[str, Any], longest: int = 2048) -> None:
        super().__init__()
        if of.get("name") == "randomized":
            raise UserError("randomized: of must be another encoding")
        self.inner = POSITION_ENCODINGS.build(of, dataclasses.replace(shape, max_position_embeddings=longest))
        self.longest = longest
        self.max_length = longest
        for name in ("terms", "adds_to_values", "keeps_lengths", "magnitude"):
            setattr(self, name, getattr(self.inner, name))

    @property
    def adds_to_scores(self) -> bool:
        return self.inner.adds_to_scores

    def place(self, position_ids: Tensor) -> Tensor:
        """Raises ``UserError`` if a document is longer than the positions there are, or its positions fractional."""
        if not self.training:
            return position_ids
        if position_ids.is_floating_point() or int(position_ids.max()) >= self.longest:
            raise UserError(f"randomized positions are whole and below longest={self.longest}; raise it")
        rows = []
        for row in position_ids:
            starts = [0, *((row.diff() <= 0).nonzero().flatten() + 1).tolist()]  # a document begins where they fall
            documents = row.tensor_split(starts[1:])
            rows.append(torch.cat([self._drawn(int(each.max()) + 1, row.device)[each] for each in documents]))
        return torch.stack(rows)

    def _drawn(self, count: int, device: torch.device) -> Tensor:
        return torch.randperm(self.longest, device=device)[:count].sort().values

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        return self.inner.embed(hidden_states, position_ids)

    def prepare(self, position_ids: Tensor) -> PositionState:
        return self.inner.prepare(position_ids)

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        return self.inner.rotate(x, state)

    def rotate_key(self, x: Tensor, state: PositionState) -> Tensor:
        return self.inner.rotate_key(x, state)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor | None:
        return self.inner.score_bias(query, key, state, layer=layer)

    def value_bias(self, weights: Tensor, state: PositionState, *, layer: int) -> Tensor:
        return self.inner.value_bias(weights, state, layer=layer)
