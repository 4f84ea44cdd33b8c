"""Which tokens attend to which: padding, packed documents and causality. The only place that builds masks.

Shapes: B batch, H heads, L length, Q queries, T tokens of a packed batch.
"""

from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from roformer.errors import UserError


@dataclass(frozen=True)
class SequenceLayout:
    """The attention mask of a batch, or its packing: tokens attend to all, to those of a mask, or within a document.

    Attributes:
        mask: boolean, broadcastable to (B, H, Q, L); True where the query (row) may attend to the key (column).
        lengths: tokens in each packed document, in order.
        causal: within these limits, no token attends to a later one.
    """

    mask: Tensor | None = None
    lengths: tuple[int, ...] | None = None
    causal: bool = False

    @classmethod
    def padded(cls, attention_mask: Tensor | None, *, causal: bool = False) -> "SequenceLayout":
        """From a (B, L) mask that is 0 or False at padding.

        Raises:
            UserError: if the mask is not two-dimensional.
        """
        if attention_mask is None:
            return cls(causal=causal)
        if attention_mask.dim() != 2:
            raise UserError(
                f"attention_mask must be (batch, length), got {tuple(attention_mask.shape)}; "
                "for several documents in a row give cu_seqlens"
            )
        return cls(mask=attention_mask.bool()[:, None, None, :], causal=causal)

    @classmethod
    def packed(cls, cu_seqlens: Tensor, total: int, *, causal: bool = False) -> "SequenceLayout":
        """From (documents + 1,) cumulative lengths that start at 0 and end at ``total`` tokens.

        Under ``torch.compile`` Python does not know the lengths; a (T, T) mask takes their place.

        Raises:
            UserError: if the cumulative lengths do not fit the tokens.
        """
        if torch.compiler.is_compiling():
            documents = document_ids(cu_seqlens, total)
            return cls(mask=(documents[:, None] == documents[None, :])[None, None], causal=causal)
        bounds = cu_seqlens.tolist()
        lengths = tuple(stop - start for start, stop in pairwise(bounds))
        if not lengths or bounds[0] != 0 or bounds[-1] != total or min(lengths) < 1:
            raise UserError(f"cu_seqlens must rise from 0 to the number of tokens {total}, got {bounds[:4]} ...")
        return cls(lengths=lengths, causal=causal)

    def runs(self) -> list[tuple[int, int]]:
        """Returns (documents, tokens each) for every run of packed documents of one length."""
        return [(len(list(group)), length) for length, group in groupby(self.lengths or ())]


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
