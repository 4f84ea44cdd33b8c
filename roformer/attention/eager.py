"""Attention written out: the readable reference, and the only backend that returns its weights."""

from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention


@ATTENTION_BACKENDS.register("eager")
class EagerAttention(SoftmaxAttention):
    """Eq. 2 as it stands. Needs memory for all (B, H, L, L) scores."""

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        return self.write_out(query, key, value, mask, bias, causal)
