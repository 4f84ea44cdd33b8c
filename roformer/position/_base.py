"""The contract of a position encoding.

Shapes here and in every encoding: B batch, H heads, L length, Q queries, D head size, E embedding size.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from roformer.errors import UserError
from roformer.registry import Registry

PositionState: TypeAlias = tuple[Tensor, ...]
"""What one forward pass computes once for all layers: tensors of shape (B or 1, H or 1, L, anything)."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model, as far as a position encoding needs them.

    Attributes:
        hidden_size: width of the encoder.
        num_attention_heads: H.
        embedding_size: E, width of the token embeddings; None means ``hidden_size``.
        max_position_embeddings: rows of a table of positions, for the encodings that have one.
        num_hidden_layers: for the encodings that have parameters in each layer.
        causal: no token sees those after it, so that an encoding needs nothing for them.

    Raises:
        UserError: if the heads do not divide the hidden size.
    """

    hidden_size: int
    num_attention_heads: int = 1
    embedding_size: int | None = None
    max_position_embeddings: int = 512
    num_hidden_layers: int = 1
    causal: bool = False

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads


class PositionEncoding(nn.Module):
    """Where the order of tokens enters the model. Override only what an encoding uses; every default is a no-op.

    An attention backend calls ``rotate``, ``score_bias`` and ``value_bias`` itself, so that a backend may rotate
    elsewhere than before the product (eq. 19 of the paper). Tables are computed in the forward pass and not kept as
    buffers: ``model.to(torch.bfloat16)`` would round a buffer, and loading with transformers 5 leaves it unset.
    """

    shift_invariant: ClassVar[bool]
    """True if adding a constant to all positions changes no output."""

    max_length: int | None = None
    """Positions from here on are refused; None for an encoding without a table."""

    terms: ClassVar[int] = 1
    """How many terms of like size the scores have, the product of query and key among them: it is divided by
    sqrt(terms D), and what ``score_bias`` adds should be, too."""

    keeps_lengths: ClassVar[bool] = True
    """False if ``rotate`` and ``rotate_key`` change the lengths of vectors, by numbers that depend on the position."""

    magnitude: float = 1.0
    """What ``rotate`` and ``rotate_key`` multiply vectors by; scalings for long texts sharpen attention with it."""

    one_sided_if_causal: ClassVar[bool] = False
    """True if in a causal model the same parameters stand for other distances, so that it cannot start from an
    encoder's."""

    adds_to_values: ClassVar[bool] = False
    """True if ``value_bias`` has something to add; attention is then written out, for that needs its weights."""

    @property
    def adds_to_scores(self) -> bool:
        """Whether ``score_bias`` or ``value_bias`` has something to add, which linear attention cannot."""
        return type(self).score_bias is not PositionEncoding.score_bias or self.adds_to_values

    def place(self, position_ids: Tensor) -> Tensor:
        """Returns the positions (B or 1, L) that all other methods get; called first, once a forward pass."""
        return position_ids

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        """Adds positions to token embeddings: (B, L, E), (B or 1, L) -> (B, L, E)."""
        return hidden_states

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions (B or 1, L), in tokens, to what every layer shares; called once a forward pass."""
        return ()

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        """Rotates queries (and values, where they are rotated): (B, H, L, D) -> (B, H, L, D)."""
        return x

    def rotate_key(self, x: Tensor, state: PositionState) -> Tensor:
        """Rotates keys, as queries unless an encoding says otherwise: (B, H, L, D) -> (B, H, L, D)."""
        return self.rotate(x, state)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor | None:
        """Returns what is added to the scaled scores, (B or 1, H or 1, Q, L), or None for nothing.

        Args:
            query: (B, H, Q, D), rotated, of the last Q of the L tokens: all, unless a text grows token by token.
            key: (B, H, L, D), rotated.
            state: what ``prepare`` returned, cut to these L tokens.
            layer: number of the layer, from 0.
        """
        return None

    def value_bias(self, weights: Tensor, state: PositionState, *, layer: int) -> Tensor:
        """Returns what is added to the weighted sum of the values, (B, H, Q, D), from (B, H, Q, L) weights."""
        raise NotImplementedError


POSITION_ENCODINGS: Registry[PositionEncoding] = Registry("position encoding")
