"""Shared by the backends of softmax attention: eq. 2 with positions. Each backend adds its kernel.

Shapes: as in ``_base``.
"""

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from roformer.attention._base import AttentionBackend, AttentionInputs
from roformer.attention._query_subset import QuerySubset
from roformer.attention._windows import WindowBlocks
from roformer.attention.layout import with_causal_mask, with_window


class SoftmaxAttention(AttentionBackend):
    """softmax(q k^T / sqrt(D) + bias) v (eq. 2)."""

    knows_windows: ClassVar[bool] = True

    @abstractmethod
    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attends from (B, H, Q, D) to (B, H, L, D), Q <= L, without regard to positions.

        Args:
            query, key, value: rotated.
            bias, mask: broadcastable to (B, H, Q, L).
            causal: the queries are the last Q tokens, and attend to none after themselves.

        Returns:
            (B, H, Q, D), and the (B, H, Q, L) weights where the backend has them.
        """

    def eager_attention(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor]:
        """As ``scaled_dot_product``, by eq. 2 as it stands, with memory for all (B, H, Q, L) weights."""
        if causal:
            mask = with_causal_mask(mask, query, key)
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(dim=-1)).to(value.dtype)
        return weights @ value, weights

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
        """As ``scaled_dot_product``, from each query to ``window`` tokens to each side, by blocks where that is less
        work. What an encoding adds to the scores it computes for all pairs, so that blocks would save little."""
        if (unseen := key.shape[2] - query.shape[2] - window) > 0:  # of a cache
            key, value = key[:, :, unseen:], value[:, :, unseen:]
            bias, mask = (None if x is None else x[..., unseen:] for x in (bias, mask))
        if bias is None:
            blocks = WindowBlocks.of(query, key, value, mask, window=window, causal=causal)
            if blocks is not None:
                output, _ = self.scaled_dot_product(
                    blocks.query, blocks.key, blocks.value, bias=None, mask=blocks.mask, causal=False
                )
                return blocks.join(output), None
        mask = with_window(mask, query, key, window=window, causal=causal)
        return self.scaled_dot_product(query, key, value, bias=bias, mask=mask, causal=False)

    def attend(self, inputs: AttentionInputs) -> tuple[Tensor, Tensor | None]:
        position, query, mask = inputs.position, scaled_query(inputs), inputs.layout.mask
        bias = position.score_bias(inputs.query, inputs.key, inputs.state, layer=inputs.layer)
        needs_weights = position.adds_to_values or inputs.output_attentions
        window = _reach(inputs)
        # a subset's shapes depend on where the queries are, which on an accelerator the host would wait for; within
        # windows blocks of neighbors are less work
        all_queries = (
            needs_weights or query.device.type != "cpu" or torch.compiler.is_compiling() or window is not None
        )
        if inputs.query_indices is None or all_queries:
            kernel = self.eager_attention if needs_weights else self.scaled_dot_product
            if window is not None and needs_weights:
                mask = with_window(mask, query, inputs.key, window=window, causal=inputs.layout.causal)
            elif window is not None:
                kernel = partial(self.local_attention, window=window)
            output, weights = kernel(
                query, inputs.key, inputs.value, bias=bias, mask=mask, causal=inputs.layout.causal
            )
            if position.adds_to_values and weights is not None:
                output = output + position.value_bias(weights, inputs.state, layer=inputs.layer)
            output = output.transpose(1, 2).flatten(2)
            return inputs.needed(output), weights if inputs.query_indices is None else None
        if inputs.layout.causal:
            mask = with_causal_mask(mask, query, inputs.key)
        subset = QuerySubset.of(inputs.query_indices, query.shape[0], query.shape[2])
        output, _ = self.scaled_dot_product(
            subset.gather(query),
            inputs.key,
            inputs.value,
            bias=None if bias is None else subset.gather(bias),
            mask=None if mask is None else subset.gather_mask(mask),
            causal=False,
        )
        return subset.needed(output), None


def scaled_query(inputs: AttentionInputs) -> Tensor:
    """Returns the queries, multiplied such that the kernels' 1 / sqrt(D) gives the encoding's softmax scale."""
    size = inputs.query.shape[-1]
    scale = inputs.position.softmax_scale(size)
    return inputs.query if scale == size**-0.5 else inputs.query * (scale * size**0.5)


def _reach(inputs: AttentionInputs) -> int | None:
    """Returns the window, or None where it holds all tokens; a graph, whose length may be free, always has it."""
    window = inputs.layout.window
    holds_all = window is not None and not torch.compiler.is_compiling() and window >= inputs.key.shape[2] - 1
    return None if holds_all else window
