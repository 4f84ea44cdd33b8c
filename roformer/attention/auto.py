"""The fastest backend for a call, by rule; ``attention=auto`` in training on a CPU measures instead."""

from collections.abc import Set

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS, AttentionInputs
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.blocked import BlockedAttention
from roformer.attention.flex import FlexAttention
from roformer.attention.layout import SequenceLayout
from roformer.attention.sdpa import SdpaAttention
from roformer.attention.varlen import VarlenAttention
from roformer.position import ModelShape, PositionEncoding

# in tokens: from here on the backward pass of the kernel keeps up; measured with 4 and 12 heads of 64 channels
_FAST_BACKWARD_LENGTH = 1024


@ATTENTION_BACKENDS.register("auto")
class AutoAttention(SoftmaxAttention):
    """``blocked`` on a CPU where PyTorch's fast kernel does not apply; on a GPU ``varlen`` for packed documents, or
    ``flex`` where the encoding adds a function of the positions; ``sdpa`` everywhere else.

    The kernel on CPUs takes neither dropout nor a mask nor a bias, and its backward pass loses to plain products in
    bfloat16 on short sequences. Those on GPUs cannot drop attention weights: with dropout, documents are attended to
    one length after the other.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        self.sdpa = SdpaAttention(shape, dropout, rotary_value)
        self.blocked = BlockedAttention(shape, dropout, rotary_value)
        self.varlen = None if dropout else VarlenAttention(shape, dropout, rotary_value)
        self.flex = None if dropout else FlexAttention(shape, dropout, rotary_value)

    def arrange(self, layout: SequenceLayout, position: PositionEncoding, windows: Set[int | None]) -> SequenceLayout:
        if self.flex is None or not position.adds_to_scores or self.flex.refusal(position):
            return layout
        return self.flex.arrange(layout, position, windows)

    def attend_packed(self, inputs: AttentionInputs) -> Tensor:
        if self.flex is not None and inputs.layout.arranged is not None:
            return self.flex.attend_packed(inputs)
        if self.varlen is not None and not inputs.position.adds_to_scores and self.varlen.has_kernel(inputs):
            return self.varlen.attend_packed(inputs)
        return super().attend_packed(inputs)

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
