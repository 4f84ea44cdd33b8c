"""The contract of a position encoding: hooks that a model calls, and traits that others read.

Shapes here and in every encoding: B batch, H heads, L length, Q queries, D head size, E embedding size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from roformer.errors import UserError
from roformer.registry import Registry
from roformer.renamed import POSITION_SETTINGS

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
        causal: no token attends to a later one, so an encoding needs no parameters for them.

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


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of an encoding that backends, checks, tests and docs read without running it.

    Attributes:
        shift_invariant: adding a constant to all positions changes no output.
        rotation: effect of ``rotate`` and ``rotate_key`` on the length of a vector. ``none``: they do nothing;
            ``isometric``: the length stays; ``scaled``: it is multiplied by one number; ``decaying``: by numbers that
            depend on the position.
        causal: whether a decoder can start from the parameters of an encoder (``same_parameters``), or uses them for
            other distances (``own_parameters``).
        pointwise: what ``prepare`` returns for a token depends on its own position only, not on those of others.
        positional_bias: what ``score_bias`` returns depends on the positions alone, not on queries and keys.
        max_length: rows of the table of positions, beyond which positions are refused; None without a table.
    """

    shift_invariant: bool
    rotation: Literal["none", "isometric", "scaled", "decaying"] = "none"
    causal: Literal["same_parameters", "own_parameters"] = "same_parameters"
    pointwise: bool = True
    positional_bias: bool = False
    max_length: int | None = None


class PositionEncoding(nn.Module):
    """Where the order of tokens enters the model. Override only what an encoding uses; every default is a no-op.

    An attention backend calls ``rotate``, ``score_bias`` and ``value_bias`` itself, because it may rotate elsewhere
    than before the product (eq. 19 of the paper). Tables are computed in the forward pass and not kept as buffers:
    ``model.to(torch.bfloat16)`` would round a buffer, and loading with transformers 5 leaves it unset.
    """

    scales: ClassVar["type[PositionEncoding] | None"] = None
    """The encoding that this one extends to longer texts, with the same parameters: ``rope`` for ``rope_yarn``."""
    counted: bool = False
    """Within ``counting``: whether the positions in each row or packed document are known to be 0, 1, 2 ..."""
    lengths: tuple[int, ...] | None = None
    """Where they are counted, the tokens in each row or document. Not for layers: compiled code would depend on it."""

    @property
    def traits(self) -> Traits:
        """To be given by each encoding (``traits = Traits(...)``); a wrapper derives them from what it wraps."""
        raise NotImplementedError(f"{type(self).__name__} has no traits")

    @property
    def adds_to_scores(self) -> bool:
        """Whether ``score_bias`` may return something."""
        return type(self).score_bias is not PositionEncoding.score_bias

    @property
    def adds_to_values(self) -> bool:
        """Whether ``value_bias`` returns something; attention then runs eagerly, because it needs the weights."""
        return type(self).value_bias is not PositionEncoding.value_bias

    @contextmanager
    def counting(self, lengths: tuple[int, ...] | None) -> Iterator[None]:
        """Tells the encoding, and those that it is made of, within a ``with`` block what Python knows of positions, so
        that they need not ask the device: ``counted`` and ``lengths``."""
        encodings = [each for each in self.modules() if isinstance(each, PositionEncoding)]
        for encoding in encodings:
            encoding.counted, encoding.lengths = lengths is not None, lengths
        try:
            yield
        finally:
            for encoding in encodings:
                encoding.counted, encoding.lengths = False, None

    def map_positions(self, position_ids: Tensor) -> Tensor:
        """Returns the positions (B or 1, L) that all other hooks get; called first, once per forward pass."""
        return position_ids

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        """Adds positions to token embeddings: (B, L, E), (B or 1, L) -> (B, L, E)."""
        return hidden_states

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions (B or 1, L), in tokens, to the state that all layers share; called once per forward pass."""
        return ()

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        """Rotates queries (and values, where they are rotated): (B, H, L, D) -> (B, H, L, D)."""
        return x

    def rotate_key(self, x: Tensor, state: PositionState) -> Tensor:
        """Rotates keys, as queries unless an encoding overrides it: (B, H, L, D) -> (B, H, L, D)."""
        return self.rotate(x, state)

    def softmax_scale(self, head_size: int) -> float:
        """Returns the factor of query-key products, 1 / sqrt(D) by default; ``score_bias`` applies it to its own."""
        return head_size**-0.5

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor | None:
        """Returns the bias that is added to the scaled scores, (B or 1, H or 1, Q, L), or None.

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


POSITION_ENCODINGS: Registry[PositionEncoding] = Registry("position encoding", old_settings=POSITION_SETTINGS)
