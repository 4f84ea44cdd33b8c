"""Linear attention with rotations: eq. 19 of the paper, in time and memory linear in the length.

Source: RoFormer paper, section 3.3, eq. 18 and 19; Katharopoulos et al. 2020, arXiv:2006.16236 (the feature map).
Checked against: eq. 19 over all pairs of tokens in float64.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from roformer.attention._base import ATTENTION_BACKENDS, AttentionBackend, AttentionInputs
from roformer.attention._chunks import DocumentChunks
from roformer.attention.layout import SequenceLayout
from roformer.errors import UserError
from roformer.position import ModelShape, PositionEncoding

_BLOCK = 16  # chunks whose sums are added up by one product
_CHUNK = 64  # tokens: within a chunk all pairs are written out, beyond it sums of keys and values are enough


@ATTENTION_BACKENDS.register("linear")
class LinearAttention(AttentionBackend):
    """sum_n (R_m f(q_m))^T (R_n g(k_n)) v_n / sum_n f(q_m)^T g(k_n), f = g = elu + 1: the numerator is rotated, the
    denominator is not, so that it stays positive. Its weights do not add up to 1, and some are negative.

    Args:
        shape: sizes of the model.
        dropout: must be 0: there are no weights to drop.
        rotary_value: as in every backend.

    Raises:
        UserError: if there is to be dropout.
    """

    refused_rotations: ClassVar[Mapping[str, str]] = {
        "scaled": "the denominator of linear attention is not rotated, so an encoding that scales queries "
        "and keys would scale the output"
    }
    """Kinds of rotation (``Traits.rotation``) that this operator cannot honor, and why."""

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        if dropout:
            raise UserError(
                "this attention has no weights that dropout could act on: set model.attention_probs_dropout_prob=0 "
                f"(now {dropout}), or choose attention=sdpa"
            )

    @classmethod
    def refusal(cls, position: PositionEncoding) -> str | None:
        if position.adds_to_scores or position.adds_to_values:
            return "linear attention has no scores that this position encoding could add to"
        return cls.refused_rotations.get(position.traits.rotation)

    def features(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Maps queries (B, H, Q, D) and keys (B, H, L, D) to positive features, of any size."""
        return F.elu(query) + 1, F.elu(key) + 1

    def rotate_inputs(self, inputs: AttentionInputs) -> AttentionInputs:
        """Rotates values only: of queries and keys, ``attend`` rotates the features."""
        if not self.rotary_value:
            return inputs
        return replace(inputs, value=inputs.position.rotate(inputs.value, inputs.state))

    def rotate_features(self, query: Tensor, key: Tensor, inputs: AttentionInputs) -> tuple[Tensor, Tensor]:
        """Returns the features of the numerator of eq. 19."""
        return inputs.position.rotate(query, inputs.query_state), inputs.position.rotate_key(key, inputs.state)

    def arrange(self, layout: SequenceLayout, position: PositionEncoding, windows: Set[int | None]) -> SequenceLayout:
        """On an accelerator cuts packed documents into chunks: a loop over documents is many small kernels there."""
        if layout.cu_seqlens is None or layout.cu_seqlens.device.type == "cpu":
            return layout
        return replace(
            layout, arranged=DocumentChunks.of(layout, sum(layout.lengths), _CHUNK if layout.causal else 4 * _CHUNK)
        )

    def attend_packed(self, inputs: AttentionInputs) -> Tensor:
        if inputs.layout.arranged is None:
            return super().attend_packed(inputs)
        return self._attend(inputs, inputs.layout.arranged.sums)

    def attend(self, inputs: AttentionInputs) -> tuple[Tensor, Tensor | None]:
        return self._attend(inputs, partial(_sums, causal=inputs.layout.causal)), None

    def _attend(self, inputs: AttentionInputs, sums_of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Attends by sums over the keys that each query sees; ``sums_of`` is as ``_sums``."""
        query, key, value, mask = inputs.query, inputs.key, inputs.value, inputs.layout.mask
        if mask is not None and mask.shape[2] > 1:
            raise UserError("linear attention knows padding, and packed documents where it is not compiled; no masks")
        dtype = value.dtype
        with torch.autocast(query.device.type, enabled=False):  # features and long sums in float32 at least
            precise = torch.promote_types(dtype, torch.float32)
            low = dtype if dtype == torch.bfloat16 else precise  # of products; sums of float16 would overflow
            query, key = self.features(query.to(precise), key.to(precise))
            if mask is not None:
                key = key * mask.mT
            rotated_query, rotated_key = self.rotate_features(query, key, inputs)
            ones = value.new_ones(*value.shape[:-1], 1, dtype=low)
            if rotated_key is key:  # weights add up to 1: one pass, and less is rounded of values around 0
                center = value.detach().to(precise).mean(dim=2, keepdim=True)
                around = (value - center).to(low)
                sums = sums_of(query.to(low), key.to(low), torch.cat((around, ones), dim=-1))
                numerator, denominator = sums[..., :-1], sums[..., -1:]
            else:
                numerator = sums_of(rotated_query.to(low), rotated_key.to(low), value.to(low))
                denominator = sums_of(query.to(low), key.to(low), ones)
                center = value.new_zeros(())
            tiny = torch.finfo(precise).tiny
            # where all weights are 0, only the center would remain, and in a causal model leak later tokens
            output = numerator / denominator.clamp(min=tiny) + center * (denominator > tiny)
        return inputs.needed(output.to(dtype).transpose(1, 2).flatten(2))


def _sums(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Returns sum_n (q_m k_n) v_n over all n, or with ``causal`` over n <= m: (B, H, Q, E), in float32 at least.

    Args:
        query: (B, H, Q, F) features of the last Q tokens; ``key`` (B, H, L, F); ``value`` (B, H, L, E): all of the
            type that products are taken in.
    """
    precise = torch.promote_types(value.dtype, torch.float32)
    if not causal:
        return (query @ (key.mT @ value)).to(precise)
    before = key.shape[2] - query.shape[2]
    state = (key[:, :, :before].mT @ value[:, :, :before]).to(precise)
    padding = (0, 0, 0, -query.shape[2] % _CHUNK)  # with zeros, which add nothing
    query_chunks, key_chunks, value_chunks = (
        F.pad(x, padding).unflatten(2, (-1, _CHUNK)) for x in (query, key[:, :, before:], value[:, :, before:])
    )
    steps = key_chunks.mT @ value_chunks  # (B, H, chunks, F, E)
    earlier = _sums_before(steps.flatten(3)).unflatten(3, steps.shape[3:]) + state[:, :, None]
    inside = (query_chunks @ key_chunks.mT).tril() @ value_chunks
    found = (query_chunks @ earlier.to(value.dtype)).to(precise) + inside
    return found.flatten(2, 3)[:, :, : query.shape[2]]


def _sums_before(steps: Tensor) -> Tensor:
    """Returns of each of (B, H, N, E) steps the sum of those before it, in float32 at least.

    In blocks, by a product with a triangle of ones: PyTorch's ``cumsum`` and its gradient take several times as long.
    """
    count = steps.shape[2]
    blocks = F.pad(steps, (0, 0, 0, -count % _BLOCK)).unflatten(2, (-1, _BLOCK))
    within = steps.new_ones(_BLOCK, _BLOCK).tril(-1) @ blocks
    totals = blocks.sum(dim=3, keepdim=True, dtype=torch.promote_types(steps.dtype, torch.float32))
    before = F.pad(totals.cumsum(dim=2)[:, :, :-1], (0, 0, 0, 0, 1, 0))
    return (within + before).flatten(2, 3)[:, :, :count]
