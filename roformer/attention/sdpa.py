"""PyTorch's ``scaled_dot_product_attention``: flash kernels where the machine has them, no (L, L) matrix."""

import torch
from torch import Tensor
from torch.nn import functional as F

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.layout import with_causal_mask


@ATTENTION_BACKENDS.register("sdpa")
class SdpaAttention(SoftmaxAttention):
    """The same result as ``eager``, in memory linear in the length wherever there is no bias."""

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        plain = causal and mask is None and bias is None and query.shape == key.shape  # the kernels' own causal mask
        if causal and not plain:
            mask = with_causal_mask(mask, query, key)
        if bias is not None:
            bias = bias.to(query.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
        dropout = self.dropout.p if self.training else 0.0
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=plain)
        if torch.compiler.is_exporting():  # which traces one kernel and writes another, with other strides
            output = output.clone(memory_format=torch.contiguous_format)
        return output, None
