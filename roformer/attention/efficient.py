"""Efficient attention: linear attention with the paper's other features, softmax of the query and exp of the key.

Source: RoFormer paper, section 3.3, after Shen et al. 2021, arXiv:1812.01243.
Checked against: eq. 19 over all pairs of tokens in float64.
"""

from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention.linear import LinearAttention


@ATTENTION_BACKENDS.register("efficient")
class EfficientAttention(LinearAttention):
    """Eq. 19 with f = softmax over the channels and g = exp."""

    def features(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        greatest = key.detach().amax(dim=(2, 3), keepdim=True)  # one number for all tokens: it cancels
        return query.softmax(dim=-1), (key - greatest).exp()
