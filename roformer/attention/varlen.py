"""PyTorch's kernel for documents packed end to end: one call for all of them, in memory linear in their lengths."""

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS, AttentionInputs
from roformer.attention._softmax import scaled_query
from roformer.attention.sdpa import SdpaAttention
from roformer.errors import UserError
from roformer.position import ModelShape, PositionEncoding

KERNEL_DEVICES = ("cuda", "meta")
"""Devices with PyTorch's kernels for packed documents; on ``meta`` there are shapes only, and no numbers."""


@ATTENTION_BACKENDS.register("varlen")
class VarlenAttention(SdpaAttention):
    """The same result as ``eager``: ``varlen_attn`` on packed documents, and ``sdpa`` on padded ones.

    The kernel runs on GPUs, in bfloat16 and float16, with heads of 8, 16 ... 256 channels; elsewhere documents are
    attended to one length after the other.

    Args:
        shape, dropout, rotary_value: as in ``AttentionBackend``.

    Raises:
        UserError: if attention weights are to be dropped, which the kernel cannot.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        check_no_dropout("varlen", dropout)

    @classmethod
    def refusal(cls, position: PositionEncoding) -> str | None:
        if position.adds_to_scores or position.adds_to_values:
            return f"attention=varlen computes the scores itself, and {type(position).__name__} adds to them"
        return None

    def has_kernel(self, inputs: AttentionInputs) -> bool:
        """Whether there is one for the device, the type and the head size of these inputs."""
        query, low = inputs.query, inputs.value.dtype in (torch.bfloat16, torch.float16)
        return low and query.device.type in KERNEL_DEVICES and query.shape[-1] % 8 == 0 and query.shape[-1] <= 256

    def attend_packed(self, inputs: AttentionInputs) -> Tensor:
        bounds, longest = inputs.layout.cu_seqlens, inputs.layout.longest
        if bounds is None or not self.has_kernel(inputs):
            return super().attend_packed(inputs)
        from torch.nn.attention.varlen import varlen_attn  # not in every build of PyTorch

        query, key, value = (x[0].transpose(0, 1) for x in (scaled_query(inputs), inputs.key, inputs.value))
        reach = -1 if inputs.layout.window is None else inputs.layout.window
        window = (reach, 0 if inputs.layout.causal else reach)
        output = varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=window)
        assert isinstance(output, Tensor)  # nothing else was asked for
        return inputs.needed(output.flatten(1)[None])


def check_no_dropout(name: str, dropout: float) -> None:
    """Raises ``UserError`` if attention weights are to be dropped."""
    if dropout:
        raise UserError(
            f"attention={name} cannot drop attention weights: set model.attention_probs_dropout_prob=0 (now "
            f"{dropout}), or choose attention=sdpa"
        )
