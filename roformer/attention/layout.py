"""Which tokens attend to which: padding, packed documents and causality. The only place that builds masks.

Shapes: B batch, H heads, L length, Q queries, T tokens of a packed batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from roformer.errors import UserError

_INVISIBLE = -1000.0  # in a mask that is added to scores: e to this is 0 in every float format


@dataclass(frozen=True)
class SequenceLayout:
    """The attention mask of a batch, or its packing: tokens attend to all, to those of a mask, or within a document.

    Attributes:
        mask: boolean, broadcastable to (B, H, Q, L); True where the query (row) may attend to the key (column).
        cu_seqlens: (documents + 1,) int32, cumulative lengths of packed documents; some may be empty.
        lengths: tokens in each of them, in order, as Python knows them.
        longest: a bound of these lengths: a power of two, so that compiled code meets few of them.
        causal: within these limits, no token attends to a later one.
        arranged: what the backend has made of these for all layers (``AttentionBackend.arrange``).
        window: within these limits, a token attends to so many to each side, besides itself; None for any number.
    """

    mask: Tensor | None = None
    cu_seqlens: Tensor | None = None
    lengths: tuple[int, ...] = ()
    longest: int = 0
    causal: bool = False
    arranged: Any = None
    window: int | None = None

    @classmethod
    def padded(
        cls, attention_mask: Tensor | None, shape: tuple[int, int, int | None] | None = None, *, causal: bool = False
    ) -> "SequenceLayout":
        """From a mask of sequences.

        Args:
            attention_mask: (B, L), 0 or False at padding; or (B, Q, L) or (B, 1 or H, Q, L), which says for each query
                what it sees, later tokens included: boolean or 0 and 1, or as transformers writes it, 0.0 for what it
                sees and a very negative number for the rest. Such a mask may have more keys than there are.
            shape: (B, Q, L) that it has to fit; L is None for any number of keys.
            causal: a query sees no later token, with a (B, L) mask or none.

        Raises:
            UserError: if the mask has another shape, or numbers of other kinds.
        """
        if attention_mask is None:
            return cls(causal=causal)
        dimensions, given = attention_mask.dim(), tuple(attention_mask.shape)
        batch, queries, keys = shape or (None, None, None)
        expected = (batch, keys) if dimensions == 2 else (batch, queries)
        real = given if dimensions == 2 else (batch if given[0] == 1 else given[0], *given[-2:-1])
        if dimensions not in (2, 3, 4) or (shape is not None and real != expected):
            raise UserError(
                f"attention_mask must be ({batch}, {keys}), or with a query dimension ({batch}, {queries}, {keys}), "
                f"got {given}; for several documents in a row give cu_seqlens"
            )
        if dimensions == 2:
            return cls(mask=attention_mask.bool()[:, None, None, :], causal=causal)
        mask = _visible(attention_mask)[..., :keys]
        return cls(mask=mask[:, None] if dimensions == 3 else mask)

    @classmethod
    def packed(
        cls, cu_seqlens: Tensor, total: int, *, causal: bool = False, lengths: Sequence[int] | None = None
    ) -> "SequenceLayout":
        """From (documents + 1,) cumulative lengths that start at 0 and end at ``total`` tokens.

        Under ``torch.compile`` Python does not know the lengths; a (T, T) mask takes their place.

        Args:
            cu_seqlens: on any device.
            total: T.
            causal: no token attends to a later one.
            lengths: of the documents, 0 for an empty one; without them the host waits for those on the device.

        Raises:
            UserError: if the lengths do not fit the tokens.
        """
        if torch.compiler.is_compiling():
            documents = document_ids(cu_seqlens, total)
            return cls(mask=(documents[:, None] == documents[None, :])[None, None], causal=causal)
        if lengths is None:
            bounds = cu_seqlens.tolist()
            lengths = tuple(stop - start for start, stop in pairwise(bounds))
            if not lengths or bounds[0] != 0 or bounds[-1] != total or min(lengths) < 1:
                raise UserError(f"cu_seqlens must rise from 0 to the number of tokens {total}, got {bounds[:4]} ...")
        elif not _fit(lengths, cu_seqlens, total):
            raise UserError(
                f"document_lengths must be those of the {len(cu_seqlens) - 1} documents of cu_seqlens and add up to "
                f"the number of tokens {total}, got {len(lengths)} that add up to {sum(lengths)}"
            )
        longest = 1 << (max(lengths) - 1).bit_length()
        return cls(cu_seqlens=cu_seqlens.int(), lengths=tuple(lengths), longest=longest, causal=causal)

    def runs(self) -> list[tuple[int, int]]:
        """Returns (documents, tokens each) for every run of packed documents of one length, without empty ones."""
        return [(len(list(group)), length) for length, group in groupby(filter(None, self.lengths))]


def _fit(lengths: Sequence[int], cu_seqlens: Tensor, total: int) -> bool:
    """Whether these are the documents of ``cu_seqlens``; their bounds are compared on a CPU only."""
    if len(lengths) != len(cu_seqlens) - 1 or sum(lengths) != total or min(lengths) < 0:
        return False
    return cu_seqlens.device.type != "cpu" or cu_seqlens.tolist() == [0, *accumulate(lengths)]


def _visible(attention_mask: Tensor) -> Tensor:
    """Returns a boolean mask from one of numbers."""
    if not attention_mask.is_floating_point():
        return attention_mask.bool()
    visible = attention_mask == 0
    if not torch.compiler.is_compiling() and not bool((visible | (attention_mask < _INVISIBLE)).all()):
        raise UserError(
            "an attention_mask of floats is added to the scores: 0.0 for tokens that are seen, the lowest number for "
            "the others; give booleans where True means seen"
        )
    return visible


def document_ids(cu_seqlens: Tensor, total: int) -> Tensor:
    """Returns the (total,) number of the packed document that each token belongs to, from 0."""
    tokens = torch.arange(total, device=cu_seqlens.device)
    return torch.searchsorted(cu_seqlens[1:].contiguous(), tokens, right=True)


def causal_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """Returns (queries, keys), True where the key is not after the query; the queries are the last of the tokens."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def with_causal_mask(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Returns the mask, broadcastable to (B, H, Q, L), without the keys after each query."""
    past = causal_mask(query.shape[2], key.shape[2], query.device)[None, None]
    return past if mask is None else mask & past


def with_window(mask: Tensor | None, query: Tensor, key: Tensor, *, window: int, causal: bool) -> Tensor:
    """Returns the mask, broadcastable to (B, H, Q, L), without the keys more than ``window`` tokens from a
    query, and with ``causal`` those after it; the queries are the last of the tokens."""
    places = torch.arange(key.shape[2], device=query.device)
    distance = places[key.shape[2] - query.shape[2] :, None] - places
    near = (distance.abs() <= window)[None, None]
    if causal:
        near = near & (distance >= 0)
    return near if mask is None else seen_or_near(mask, near)


def seen_or_near(mask: Tensor, near: Tensor) -> Tensor:
    """Returns the keys in a mask that are ``near``, and for a query that has none all that are near.

    Such a query is padding far from any token. Its output means nothing, but as a kernel's nan it would spread.
    """
    seen = mask & near
    return seen | (near & ~seen.any(dim=-1, keepdim=True))
