"""Attention by blocks of scores that stay in the processor's cache: the fast path on CPUs, in linear memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from roformer.attention._base import ATTENTION_BACKENDS
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.layout import causal_mask
from roformer.attention.sdpa import SdpaAttention
from roformer.ops.dropout import draw_kept, survivor_scale
from roformer.position import ModelShape

_SHORT = 1024  # up to this length all weights are kept: computing them again would cost more than it saves
_KERNEL = 256  # from this length on PyTorch's kernel is the faster one in a plain forward pass
_BLOCK_SCORES = 1 << 21  # scores in a block: 4 MiB in bfloat16

Block = tuple[int, slice, slice, slice]
"""A batch element, its heads, its queries, and the keys that they see."""


@ATTENTION_BACKENDS.register("blocked")
class BlockedAttention(SoftmaxAttention):
    """The same result as ``eager``; beyond 1,024 tokens the weights live only as long as their block.

    The backward pass computes them again, as FlashAttention does (Dao et al. 2022, arXiv:2205.14135), but with plain
    matrix products over whole rows of keys: on CPUs these run several times as fast as PyTorch's own flash kernel in
    bfloat16. Forward passes without dropout, mask or bias are that kernel's; so is all work on other devices.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        self.sdpa = SdpaAttention(shape, dropout, rotary_value)

    def scaled_dot_product(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor | None]:
        if query.device.type != "cpu":
            return self.sdpa.scaled_dot_product(query, key, value, bias=bias, mask=mask, causal=causal)
        dropout = self.dropout.p if self.training else 0.0
        if torch.compiler.is_compiling():  # a graph would unroll the blocks
            return self.eager_attention(query, key, value, bias=bias, mask=mask, causal=causal)[0], None
        learns = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
        if not learns and _suits_kernel(query, key, mask, bias, dropout, causal):
            return self.sdpa.scaled_dot_product(query, key, value, bias=bias, mask=mask, causal=causal)
        if key.shape[2] <= _SHORT:
            return self.eager_attention(query, key, value, bias=bias, mask=mask, causal=causal)[0], None
        output: Tensor = _BlockedAttention.apply(  # type: ignore[no-untyped-call]
            query, key, value, mask, bias, dropout, causal
        )
        return output, None


def _suits_kernel(
    query: Tensor, key: Tensor, mask: Tensor | None, bias: Tensor | None, dropout: float, causal: bool
) -> bool:
    """Whether PyTorch's kernel for CPUs, which knows no dropout and is slow with a mask, computes this faster."""
    whole = not causal or query.shape == key.shape  # its causal mask begins at the first key
    return key.shape[2] >= _KERNEL and mask is None and bias is None and not dropout and whole


class _BlockedAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(D) + bias) v from (B, H, Q, D) to (B, H, L, D), block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        dropout: float,
        causal: bool,
    ) -> Tensor:
        key, value = key.contiguous(), value.contiguous()
        scaled = query * query.shape[-1] ** -0.5
        ctx.save_for_backward(scaled, key, value, mask, bias)
        ctx.dropout, ctx.causal = dropout, causal
        blocks = list(_blocks(scaled, key, causal))
        ctx.seeds = torch.randint(2**32, (len(blocks),)).tolist() if dropout else [0] * len(blocks)
        with torch.autocast(query.device.type, enabled=False):
            if _suits_kernel(query, key, mask, bias, dropout, causal):
                return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
            output = torch.empty_like(scaled)
            for seed, block in zip(ctx.seeds, blocks, strict=True):
                weights = _weights(scaled, key, mask, bias, causal, block)
                batch, heads, rows, keys = block
                if dropout:
                    weights = weights.where(_kept(weights, dropout, seed), 0)
                torch.bmm(weights, value[batch, heads, keys], out=output[batch, heads, rows])
        return output.mul_(survivor_scale(dropout)) if dropout else output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, bias = ctx.saved_tensors
        grad_output = grad_output.contiguous()
        if ctx.dropout:
            grad_output = grad_output * survivor_scale(ctx.dropout)
        grad_query = torch.empty_like(query)
        # blocks of rows add up here, in full precision
        grad_key = torch.zeros_like(key, dtype=torch.promote_types(key.dtype, torch.float32))
        grad_value = torch.zeros_like(grad_key)
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[4] else None
        with torch.autocast(query.device.type, enabled=False):
            for seed, block in zip(ctx.seeds, _blocks(query, key, ctx.causal), strict=True):
                batch, heads, rows, keys = block
                weights = _weights(query, key, mask, bias, ctx.causal, block)
                grad_rows = grad_output[batch, heads, rows]
                grad_weights = torch.bmm(grad_rows, value[batch, heads, keys].transpose(1, 2))
                dropped = weights
                if ctx.dropout:
                    kept = _kept(weights, ctx.dropout, seed)
                    dropped, grad_weights = weights.where(kept, 0), grad_weights.where(kept, 0)
                grad_value[batch, heads, keys] += torch.bmm(dropped.transpose(1, 2), grad_rows)
                # of private functions this one is in every release, and saves a pass over the block
                grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
                torch.bmm(grad_scores, key[batch, heads, keys], out=grad_query[batch, heads, rows])
                grad_key[batch, heads, keys] += torch.bmm(grad_scores.transpose(1, 2), query[batch, heads, rows])
                if grad_bias is not None:
                    part = _part(grad_bias, block)
                    part += grad_scores.sum_to_size(part.shape)
        grad_query *= query.shape[-1] ** -0.5
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, grad_bias, None, None


def _blocks(query: Tensor, key: Tensor, causal: bool) -> Iterator[Block]:
    """Yields the blocks of (B, H, Q, L) scores: several heads where they are small, some rows where they are large.

    With ``causal``, the keys of a block end with its last query."""
    batch, heads, queries, _ = query.shape
    keys = key.shape[2]
    heads_each = max(1, _BLOCK_SCORES // (queries * keys))
    rows_each = max(1, _BLOCK_SCORES // (keys * heads_each))
    for b in range(batch):
        for h in range(0, heads, heads_each):
            for r in range(0, queries, rows_each):
                stop = keys - queries + min(r + rows_each, queries) if causal else keys
                yield b, slice(h, h + heads_each), slice(r, r + rows_each), slice(stop)


def _part(x: Tensor, block: Block) -> Tensor:
    """Returns the (heads or 1, rows or 1, keys) part of (B or 1, H or 1, Q or 1, L) that a block needs."""
    batch, heads, rows, keys = block
    x = x[batch if x.shape[0] > 1 else 0]
    x = x[heads] if x.shape[0] > 1 else x
    return (x[:, rows] if x.shape[1] > 1 else x)[..., keys]


def _weights(
    query: Tensor, key: Tensor, mask: Tensor | None, bias: Tensor | None, causal: bool, block: Block
) -> Tensor:
    """Returns the (heads, rows, keys) attention weights of a block; ``query`` is scaled."""
    batch, heads, rows, keys = block
    scores = torch.bmm(query[batch, heads, rows], key[batch, heads, keys].transpose(1, 2))
    if bias is not None:
        scores += _part(bias, block)
    if mask is not None:
        scores.masked_fill_(~_part(mask, block), torch.finfo(scores.dtype).min)
    if causal:
        past = causal_mask(scores.shape[1], scores.shape[2], scores.device)
        scores.masked_fill_(~past, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def _kept(weights: Tensor, dropout: float, seed: int) -> Tensor:
    """Draws which weights dropout keeps: the same ones whenever the seed is the same."""
    return draw_kept(weights.shape, dropout, torch.Generator(weights.device).manual_seed(seed))
