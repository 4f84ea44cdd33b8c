"""Attention in plain products: the readable reference."""

from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.layout import with_window


@ATTENTION_BACKENDS.register("eager")
class EagerAttention(SoftmaxAttention):
    """Eq. 2 as it stands. Needs memory for all (B, H, L, L) scores."""

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        return self.eager_attention(query, key, value, bias=bias, mask=mask, causal=causal)

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
        mask = with_window(mask, query, key, window=window, causal=causal)
        return self.scaled_dot_product(query, key, value, bias=bias, mask=mask, causal=False)
