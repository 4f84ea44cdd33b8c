"""The fastest backend for a call, by rule; ``attention=auto`` in training measures instead."""

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.blocked import BlockedAttention
from roformer.attention.sdpa import SdpaAttention
from roformer.position import ModelShape

# in tokens: from here on the backward pass of the kernel keeps up; measured with 4 and 12 heads of 64 channels
_FAST_BACKWARD_LENGTH = 1024


@ATTENTION_BACKENDS.register("auto")
class AutoAttention(SoftmaxAttention):
    """``blocked`` on a CPU where PyTorch's fast kernel does not apply, ``sdpa`` everywhere else.

    That kernel takes neither dropout nor a mask nor a bias, and its backward pass loses to plain products in bfloat16
    on short sequences.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        self.sdpa = SdpaAttention(shape, dropout, rotary_value)
        self.blocked = BlockedAttention(shape, dropout, rotary_value)

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        dropout = self.training and self.dropout.p > 0
        learns = torch.is_grad_enabled() and query.requires_grad
        loses = learns and query.dtype == torch.bfloat16 and key.shape[-2] < _FAST_BACKWARD_LENGTH
        slow = dropout or mask is not None or bias is not None or loses
        on_cpu = query.device.type == "cpu" and not torch.compiler.is_compiling()  # a graph is for any device
        backend = self.blocked if slow and on_cpu else self.sdpa
        return backend.scaled_dot_product(query, key, value, bias=bias, mask=mask, causal=causal)
