"""One vector for each sequence of a batch.

Shapes: B batch, L length, T tokens of a packed batch, C hidden size.
"""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from roformer.attention import document_ids
from roformer.model.configuration import RoFormerLabConfig


def pool(hidden_states: Tensor, how: str, attention_mask: Tensor | None, cu_seqlens: Tensor | None) -> Tensor:
    """Maps (B, L, C) to (B, C), or packed documents (1, T, C) to (documents, C).

    Args:
        hidden_states: output of the body.
        how: ``cls``, the first token; ``last``, the last one; or ``mean`` over all. Padding is none of them.
        attention_mask: (B, L), 0 at padding, on either side.
        cu_seqlens: (documents + 1,) cumulative lengths.
    """
    if cu_seqlens is not None:
        return _pool_packed(hidden_states[0], how, cu_seqlens)
    if attention_mask is None or attention_mask.dim() != 2:
        return hidden_states.mean(dim=1) if how == "mean" else hidden_states[:, 0 if how == "cls" else -1]
    if how == "mean":
        weights = attention_mask.to(hidden_states.dtype)[..., None]
        return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    tokens = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    real = attention_mask.bool()
    place = real.long().argmax(dim=1) if how == "cls" else (tokens * real).argmax(dim=1)
    rows = torch.arange(hidden_states.shape[0], device=place.device)
    return hidden_states[rows, place]


def _pool_packed(hidden_states: Tensor, how: str, cu_seqlens: Tensor) -> Tensor:
    """Maps (T, C) to (documents, C)."""
    if how != "mean":
        return hidden_states[cu_seqlens[:-1] if how == "cls" else cu_seqlens[1:] - 1]
    return mean_of_parts(hidden_states, cu_seqlens)


def mean_of_parts(values: Tensor, bounds: Tensor) -> Tensor:
    """Maps (T, C), of which part i is ``values[bounds[i]:bounds[i + 1]]``, to the (parts, C) mean of each part."""
    lengths = bounds.diff()
    parts = document_ids(bounds, len(values))
    return values.new_zeros(len(lengths), values.shape[-1]).index_add(0, parts, values) / lengths[:, None]


class RoFormerPooler(nn.Module):
    """BERT's pooler: a dense layer and an activation (``config.pooler_activation``) on the first token."""

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.activation = ACT2FN[config.pooler_activation]

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None, cu_seqlens: Tensor | None) -> Tensor:
        """Maps (B, L, C) to (B, C), and packed documents (1, T, C) to (documents, C)."""
        return self.activation(self.dense(pool(hidden_states, "cls", attention_mask, cu_seqlens)))
