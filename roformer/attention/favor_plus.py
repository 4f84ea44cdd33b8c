"""Softmax attention by random features (FAVOR+), with queries and keys rotated before: linear in the length.

Source: Choromanski et al. 2021, arXiv:2009.14794, section 2 (positive orthogonal features). Section 4.4 of the
RoFormer paper cites code that rotates as here, before the feature map; eq. 19, ``linear``, is another operator.
Checked against: softmax attention, from which it differs the less the more features there are.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS, AttentionBackend, AttentionInputs
from roformer.attention.linear import LinearAttention
from roformer.errors import UserError
from roformer.position import ModelShape

_REDRAWN = 1000  # batches, on average


@ATTENTION_BACKENDS.register("favor_plus")
class FavorPlusAttention(LinearAttention):
    """exp(q k / sqrt(D)) as the mean of exp(w q - |q|^2 / 2) exp(w k - |k|^2 / 2) over random w, q and k divided by
    D^(1/4) each.

    In training the w are redrawn at random, once in 1,000 batches on average, by the generator that dropout uses: a
    run that is resumed, or recomputes activations, draws the same. In the last tenth of a run they stay, so that the
    weights have learned with those that are saved. In evaluation they are those of the checkpoint.

    Args:
        shape, dropout, rotary_value: as in ``linear``.
        num_features: w per head; D ln D if not given, as in the cited code.

    Raises:
        UserError: if there is to be dropout, or no feature.
    """

    refused_rotations: ClassVar[Mapping[str, str]] = {
        "decaying": "FAVOR+ depends on the lengths of queries and keys, which this position encoding changes from "
        "token to token"
    }

    def __init__(
        self, shape: ModelShape, dropout: float, rotary_value: bool, *, num_features: int | None = None
    ) -> None:
        super().__init__(shape, dropout, rotary_value)
        if num_features is not None and num_features < 1:
            raise UserError(f"attention.num_features must be at least 1, got {num_features}")
        size = shape.head_size
        self.projection: Tensor
        self.register_buffer("projection", orthogonal_features(num_features or int(size * math.log(size)), size))

    def reset_buffers(self) -> None:
        self.projection.copy_(orthogonal_features(*self.projection.shape))

    def rotate_inputs(self, inputs: AttentionInputs) -> AttentionInputs:
        """Rotates queries and keys as softmax attention does, before the feature map."""
        # here: the same features for all documents of a batch
        if self.training and torch.rand(()) < 1 / _REDRAWN and not self.settled:
            self.reset_buffers()
        return AttentionBackend.rotate_inputs(self, inputs)

    def rotate_features(self, query: Tensor, key: Tensor, inputs: AttentionInputs) -> tuple[Tensor, Tensor]:
        return query, key

    def features(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        query, key = (self._logarithms(x) for x in (query, key))
        # what is subtracted cancels: a number of each query, and one of all keys
        query = query - query.detach().amax(dim=-1, keepdim=True)
        return query.exp(), (key - key.detach().amax(dim=(2, 3), keepdim=True)).exp()

    def _logarithms(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        return x @ self.projection.to(x.dtype).mT - x.square().sum(dim=-1, keepdim=True) / 2


def orthogonal_features(count: int, size: int) -> Tensor:
    """Draws (count, size) vectors as long as Gaussian ones; of ``size`` at a time the directions are orthogonal."""
    directions, upper = torch.linalg.qr(torch.randn(-(-count // size), size, size))
    # else the signs follow a rule, and the mean over features is not that of softmax
    directions = directions * upper.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    return directions.mT.flatten(0, 1)[:count] * torch.randn(count, size).norm(dim=-1, keepdim=True)
