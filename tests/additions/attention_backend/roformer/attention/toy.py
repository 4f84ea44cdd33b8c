"""Attention one head at a time."""

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention.eager import EagerAttention


@ATTENTION_BACKENDS.register("toy")
class HeadByHeadAttention(EagerAttention):
    """The same result as ``eager``; products are those of a single head."""

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        heads = query.shape[1]
        biases = [None] * heads if bias is None else bias.expand(-1, heads, -1, -1).split(1, dim=1)
        parts = zip(query.split(1, dim=1), key.split(1, dim=1), value.split(1, dim=1), biases, strict=True)
        outputs = [self.eager_attention(q, k, v, bias=one, mask=mask, causal=causal)[0] for q, k, v, one in parts]
        return torch.cat(outputs, dim=1), None
