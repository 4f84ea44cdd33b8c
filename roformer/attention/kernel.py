"""A kernel that transformers knows by name: FlashAttention, FlexAttention, one of the hub, or a user's own."""

from types import SimpleNamespace

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.layout import with_causal_mask
from roformer.errors import UserError
from roformer.position import ModelShape, PositionEncoding
from roformer.registry import did_you_mean


def check_implementation(name: str) -> None:
    """Raises ``UserError`` unless transformers has an attention function of that name, or may find it on the hub."""
    from transformers.integrations.hub_kernels import is_kernel
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    known = [each for each in ALL_ATTENTION_FUNCTIONS.valid_keys() if not each.startswith("paged|")]
    if name not in known and not is_kernel(name):
        raise UserError(
            f"unknown attn_implementation '{name}'{did_you_mean(name, known)} (available: eager, {', '.join(known)}, "
            "or the name of a kernel on the hub)"
        )


@ATTENTION_BACKENDS.register("kernel")
class KernelAttention(SoftmaxAttention):
    """Softmax attention by a function of transformers' ``AttentionInterface``.

    Args:
        shape, dropout, rotary_value: as in ``AttentionBackend``.
        implementation: what transformers calls ``attn_implementation``, such as ``flash_attention_2``, or the name of
            a kernel on the hub, which transformers loads when the model is built.

    Raises:
        UserError: if transformers knows no such function.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool, *, implementation: str = "sdpa") -> None:
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        super().__init__(shape, dropout, rotary_value)
        check_implementation(implementation)
        self.implementation = implementation
        self.function = ALL_ATTENTION_FUNCTIONS[implementation]
        make_mask = ALL_MASK_ATTENTION_FUNCTIONS.get(implementation)
        self.mask_kind = getattr(make_mask, "__name__", "sdpa_mask").removesuffix("_mask")
        # what transformers' functions look up in an attention module
        self.config = SimpleNamespace(_attn_implementation=implementation)
        self.is_causal = False

    @classmethod
    def refusal(cls, position: PositionEncoding) -> str | None:
        if position.adds_to_scores:
            return f"attention=kernel computes the scores itself, and {type(position).__name__} adds to them"
        return None

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        return self._call(query, key, value, mask, causal)

    def local_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        bias: Tensor | None,
        mask: Tensor | None,
        causal: bool,
        window: int,
    ) -> tuple[Tensor, Tensor | None]:
        if self.mask_kind == "flash_attention":  # which counts the query as one of the window
            return self._call(query, key, value, mask, causal, sliding_window=window + 1)
        return super().local_attention(query, key, value, bias=bias, mask=mask, causal=causal, window=window)

    def _call(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, **window: int
    ) -> tuple[Tensor, Tensor | None]:
        by_flags = self.mask_kind == "flash_attention"
        output, _ = self.function(
            self, query, key, value,
            self._padding(mask) if by_flags else self._full_mask(mask, query, key, causal),
            dropout=self.dropout.p if self.training else 0.0,
            scaling=query.shape[-1] ** -0.5,
            is_causal=causal and by_flags,
            **window,
        )  # fmt: skip
        return output.transpose(1, 2), None

    def _padding(self, mask: Tensor | None) -> Tensor | None:
        """Returns the (B, L) mask of padding, the only one that kernels of the FlashAttention family take."""
        if mask is not None and mask.shape[1:3] != (1, 1):
            raise UserError(f"{self.implementation} needs a (batch, length) attention_mask; use attention=sdpa")
        return None if mask is None else mask[:, 0, 0]

    def _full_mask(self, mask: Tensor | None, query: Tensor, key: Tensor, causal: bool) -> Tensor | None:
        """Returns (B, 1 or H, Q, L) with the causal mask in it: boolean, or numbers that are added to the scores."""
        mask = with_causal_mask(mask, query, key) if causal else mask
        if mask is None:
            return None
        mask = mask.expand(query.shape[0], mask.shape[1], query.shape[2], key.shape[2])
        if self.mask_kind in ("sdpa", "sdpa_attention"):
            return mask
        return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
