"""What the backends of softmax attention share: eq. 2 with positions, and how each computes its heart.

Shapes: as in ``_base``.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from roformer.attention._base import AttentionBackend
from roformer.position import PositionEncoding, PositionState


def up_to_query(queries: int, keys: int, device: torch.device) -> Tensor:
    """Returns (queries, keys), True where the key is not after the query; the queries are the last of the tokens."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def causal_mask(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Returns the mask, broadcastable to (B, H, Q, L), without the keys after each query."""
    past = up_to_query(query.shape[2], key.shape[2], query.device)[None, None]
    return past if mask is None else mask & past


class SoftmaxAttention(AttentionBackend):
    """softmax(q k^T / sqrt(D) + bias) v (eq. 2)."""

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

    def attend_part(
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
