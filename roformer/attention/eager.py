"""Attention written out: the readable reference, and the only backend that returns its weights."""

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS, AttentionBackend


@ATTENTION_BACKENDS.register("eager")
class EagerAttention(AttentionBackend):
    """Eq. 2 as it stands. Needs memory for all (B, H, L, L) scores."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(dim=-1)).to(value.dtype)
        return weights @ value, weights
