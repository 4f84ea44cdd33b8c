"""Learned absolute positions, as in BERT.

Source: Devlin et al. 2019, arXiv:1810.04805; RoFormer paper, section 2.2 (trainable p_i in eq. 3).
Checked against: ``nn.Embedding``.
"""

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, Traits


@POSITION_ENCODINGS.register("learned")
class LearnedPositionEncoding(PositionEncoding):
    """Adds one trained vector a position to the token embeddings.

    Args:
        shape: sizes of the model; the table is (``max_position_embeddings``, E). Rows beyond the length that a
            model was trained at keep their random start: it runs there, but has learned nothing about them.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.max_position_embeddings, shape.embedding_size or shape.hidden_size)

    @property
    def traits(self) -> Traits:
        return Traits(shift_invariant=False, max_length=self.table.num_embeddings)

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        """Raises ``UserError`` if a position is fractional or beyond the table (the latter not when compiled)."""
        if position_ids.is_floating_point():
            raise UserError("learned positions are whole numbers; fractional position_ids need rope or sinusoidal")
        if not torch.compiler.is_compiling() and position_ids.numel():
            if self.lengths is not None:
                self._check(0, max(self.lengths) - 1)
            else:
                self._check(int(position_ids.min()), int(position_ids.max()))
        return hidden_states + self.table(position_ids)

    def _check(self, first: int, last: int) -> None:
        if first < 0:
            raise UserError(f"position {first} is below the first row of the learned positions, 0")
        if last >= self.table.num_embeddings:
            raise UserError(
                f"position {last} is beyond the table of learned positions; raise max_position_embeddings (now "
                f"{self.table.num_embeddings}) and train anew, or use an encoding without a table"
            )
