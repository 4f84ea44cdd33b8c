"""The contract of an attention backend, and which tokens may see which.

Shapes: B batch, H heads, L length, Q queries, D head size. Packed: B = 1 and L = T, all tokens of all documents.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from roformer.dropout import Dropout
from roformer.errors import UserError
from roformer.position import PositionEncoding, PositionState
from roformer.registry import Registry


@dataclass(frozen=True)
class SequenceLayout:
    """Which tokens may attend to which: all, those of a mask, or those of the same document.

    Attributes:
        mask: boolean, broadcastable to (B, H, Q, L); True where the query (row) may see the key (column).
        lengths: tokens in each packed document, in order.
        causal: of these, no token may attend to those after it.
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

        Under ``torch.compile`` the lengths are not known to Python, so that a (T, T) mask takes their place.

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


def up_to_query(queries: int, keys: int, device: torch.device) -> Tensor:
    """Returns (queries, keys), True where the key is not after the query; the queries are the last of the tokens."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def causal_mask(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Returns the mask, broadcastable to (B, H, Q, L), without the keys after each query."""
    past = up_to_query(query.shape[2], key.shape[2], query.device)[None, None]
    return past if mask is None else mask & past


class AttentionBackend(nn.Module, ABC):
    """softmax(q k^T / sqrt(D) + bias) v (eq. 2) with positions (eq. 16), on padded or packed sequences.

    Args:
        dropout: probability that an attention weight is dropped in training.
        rotary_value: rotate the values as well (``rotary_value`` of stock RoFormer).
    """

    def __init__(self, *, dropout: float, rotary_value: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.rotary_value = rotary_value

    def write_out(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Attends as ``attend`` does, by eq. 2 as it stands, with memory for all (B, H, Q, L) weights."""
        if causal:
            mask = causal_mask(mask, query, key)
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(dim=-1)).to(value.dtype)
        return weights @ value, weights

    @abstractmethod
    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from (B, H, Q, D) to (B, H, L, D), Q <= L; returns (B, H, Q, D), and the (B, H, Q, L) weights where
        it has them. With ``causal``, the queries are the last Q tokens, and see none after themselves."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        position: PositionEncoding,
        state: PositionState,
        layout: SequenceLayout,
        layer: int,
        query_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over (B, H, L, D), and lays the heads side by side.

        Args:
            query, key, value: (B, H, L, D), not rotated. Where earlier tokens have been cached, the queries are the
                last ones only, (B, H, Q, D).
            position: the encoding, and ``state``, what its ``prepare`` returned of all L tokens.
            layout: who may see whom.
            layer: number of the layer, from 0.
            query_mask: (B, L), True for the N tokens whose output is wanted; None for all.

        Returns:
            (B, Q, H D), or (N, H D) with ``query_mask``; and the weights, which are None for packed sequences, for a
            part of the tokens, and for backends without them.
        """
        last = tuple(each[:, :, -query.shape[2] :] for each in state)
        query, key = position.rotate(query, last), position.rotate_key(key, state)
        if self.rotary_value:
            value = position.rotate(value, state)
        causal = layout.causal and query.shape[2] > 1  # a single query is the last token: it sees all
        attend = partial(self._attend_part, position=position, mask=layout.mask, causal=causal, layer=layer)
        if layout.lengths is None:
            return attend(query, key, value, state, query_mask)

        runs = layout.runs()
        sizes = [documents * length for documents, length in runs]
        # split, not slices: the gradient of each slice would be as large as the whole
        parts = (x.split(sizes, dim=2) for x in (query, key, value, *state))
        wanted = [None] * len(runs) if query_mask is None else query_mask[0].split(sizes)
        outputs = []
        for (documents, length), part, *run in zip(runs, wanted, *parts, strict=True):
            # documents of one length make a batch; a single one is a view that products take as it is
            q, k, v, *rest = (x.unflatten(2, (documents, length)).squeeze(0).transpose(0, 1) for x in run)
            if documents > 1:
                q, k, v = (x.contiguous() for x in (q, k, v))
            part = None if part is None else part.unflatten(0, (documents, length))
            output, _ = attend(q, k, v, tuple(rest), part)
            outputs.append(output if part is not None else output.flatten(0, 1))
        output = torch.cat(outputs)
        return output if query_mask is not None else output[None], None

    def _attend_part(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        state: PositionState,
        query_mask: Tensor | None,
        *,
        position: PositionEncoding,
        mask: Tensor | None,
        causal: bool,
        layer: int,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over rotated (B, H, L, D); returns what ``forward`` does."""
        bias = position.score_bias(query, key, state, layer=layer)
        if position.terms > 1:
            query = query * position.terms**-0.5
        whole = position.adds_to_values or torch.compiler.is_compiling()  # a graph has no room for data's own numbers
        if query_mask is None or whole:
            attend = self.write_out if position.adds_to_values else self.attend
            output, weights = attend(query, key, value, mask, bias, causal)
            if position.adds_to_values and weights is not None:
                output = output + position.value_bias(weights, state, layer=layer)
            output = output.transpose(1, 2).flatten(2)
            return (output, weights) if query_mask is None else (output[query_mask], None)
        if causal:
            mask = causal_mask(mask, query, key)
        counts = query_mask.sum(dim=1)
        # the places of the wanted tokens in each row; where it has fewer than another, any others fill up
        places = query_mask.byte().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(counts.max()))]
        real = torch.arange(places.shape[1], device=places.device) < counts[:, None]
        rows = places[:, None, :, None]
        query = query.take_along_dim(rows, dim=2)
        bias = bias if bias is None else bias.take_along_dim(rows, dim=2)
        mask = mask if mask is None or mask.shape[2] == 1 else mask.take_along_dim(rows, dim=2)
        output, _ = self.attend(query, key, value, mask, bias)
        return output.transpose(1, 2).flatten(2)[real], None


ATTENTION_BACKENDS: Registry[AttentionBackend] = Registry("attention backend")
