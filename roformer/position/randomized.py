"""Randomized positions, around any other encoding.

Source: Ruoss et al. 2023, arXiv:2305.16843, section 3.
Checked against: positions rise within each document, and each comes up equally often.
"""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits


@POSITION_ENCODINGS.register("randomized")
class RandomizedPositionEncoding(PositionEncoding):
    """In training, gives the tokens of each document positions drawn from 0 ... ``max_sampled_position`` - 1, in their
    order: the base encoding then meets all of these positions in short texts. In evaluation positions stay as they are
    (the paper draws them there, too; then no two passes would give the same result).

    Args:
        shape: sizes of the model; ``max_sampled_position`` replaces ``max_position_embeddings``.
        base_encoding: name and settings of the encoding that gets the drawn positions.
        max_sampled_position: in tokens.

    Raises:
        UserError: if ``base_encoding`` is no position encoding, or another randomized one.
    """

    def __init__(self, shape: ModelShape, *, base_encoding: dict[str, Any], max_sampled_position: int = 2048) -> None:
        super().__init__()
        if base_encoding.get("name") == "randomized":
            raise UserError("randomized: base_encoding must be another encoding")
        shape = dataclasses.replace(shape, max_position_embeddings=max_sampled_position)
        self.inner = POSITION_ENCODINGS.build(base_encoding, shape)
        self.max_sampled_position = max_sampled_position

    @property
    def traits(self) -> Traits:
        return dataclasses.replace(self.inner.traits, shift_invariant=False, max_length=self.max_sampled_position)

    @property
    def adds_to_scores(self) -> bool:
        return self.inner.adds_to_scores

    @property
    def adds_to_values(self) -> bool:
        return self.inner.adds_to_values

    @contextmanager
    def counting(self, lengths: tuple[int, ...] | None) -> Iterator[None]:
        """In training the inner encoding gets other positions, and need not know."""
        with super().counting(lengths):
            if self.training:
                with self.inner.counting(None):
                    yield
            else:
                yield

    def map_positions(self, position_ids: Tensor) -> Tensor:
        """Raises ``UserError`` if a document is longer than ``max_sampled_position``, or its positions fractional."""
        if not self.training:
            return position_ids
        if self.lengths is not None:
            packed = sum(self.lengths) == position_ids.shape[1]  # else one row of positions serves all rows
            lengths = self.lengths if packed else self.lengths[:1]
            self._check(max(lengths))
            return torch.cat([self._drawn(length, position_ids.device) for length in lengths if length])[None]
        self._check(math.inf if position_ids.is_floating_point() else int(position_ids.max()) + 1)
        rows = []
        for row in position_ids:
            starts = [0, *((row.diff() <= 0).nonzero().flatten() + 1).tolist()]  # a document begins where they fall
            documents = row.tensor_split(starts[1:])
            rows.append(torch.cat([self._drawn(int(each.max()) + 1, row.device)[each] for each in documents]))
        return torch.stack(rows)

    def _check(self, longest: float) -> None:
        if longest > self.max_sampled_position:
            raise UserError(
                "randomized takes whole positions below max_sampled_position; raise it (now "
                f"{self.max_sampled_position})"
            )

    def _drawn(self, count: int, device: torch.device) -> Tensor:
        return torch.randperm(self.max_sampled_position, device=device)[:count].sort().values

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        with self._within_table():
            return self.inner.embed(hidden_states, position_ids)

    def prepare(self, position_ids: Tensor) -> PositionState:
        with self._within_table():
            return self.inner.prepare(position_ids)

    def _within_table(self) -> AbstractContextManager[None]:
        """Tells a table of the inner encoding that drawn positions lie in it."""
        return self.inner.counting((self.max_sampled_position,)) if self.training else nullcontext()

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        return self.inner.rotate(x, state)

    def rotate_key(self, x: Tensor, state: PositionState) -> Tensor:
        return self.inner.rotate_key(x, state)

    def softmax_scale(self, head_size: int) -> float:
        return self.inner.softmax_scale(head_size)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor | None:
        return self.inner.score_bias(query, key, state, layer=layer)

    def value_bias(self, weights: Tensor, state: PositionState, *, layer: int) -> Tensor:
        return self.inner.value_bias(weights, state, layer=layer)
