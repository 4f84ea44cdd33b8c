"""FlexAttention: packed documents in one kernel for encodings that add a function of the positions to the scores.

Shapes: H heads, T tokens of a packed batch, K positions of the longest document or a bound of it, D head size.
"""

from collections.abc import Set
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from roformer.attention._base import ATTENTION_BACKENDS, AttentionInputs
from roformer.attention._softmax import scaled_query
from roformer.attention.layout import SequenceLayout, document_ids
from roformer.attention.sdpa import SdpaAttention
from roformer.attention.varlen import KERNEL_DEVICES, check_no_dropout
from roformer.position import ModelShape, PositionEncoding

_BLOCK_SIZE = 128  # queries and keys in a block of the kernel


@ATTENTION_BACKENDS.register("flex")
class FlexAttention(SdpaAttention):
    """The same result as ``eager``: one compiled kernel on packed documents, and ``sdpa`` on padded ones.

    The bias comes from a table, which the encoding fills once per layer: of all distances where only these count, else
    of all pairs of positions. Documents whose positions are not 0, 1, 2 ... are attended to one length after the
    other, as are all of them on a CPU, where the kernel has no backward pass.

    Args:
        shape, dropout, rotary_value: as in ``AttentionBackend``.

    Raises:
        UserError: if attention weights are to be dropped, which the kernel cannot.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__(shape, dropout, rotary_value)
        check_no_dropout("flex", dropout)

    @classmethod
    def refusal(cls, position: PositionEncoding) -> str | None:
        if position.adds_to_values or (position.adds_to_scores and not position.traits.positional_bias):
            return f"attention=flex knows biases of positions alone, and {type(position).__name__} adds another one"
        return None

    def arrange(self, layout: SequenceLayout, position: PositionEncoding, windows: Set[int | None]) -> SequenceLayout:
        known = position.counted or not position.adds_to_scores
        if layout.cu_seqlens is None or layout.cu_seqlens.device.type not in KERNEL_DEVICES or not known:
            return layout
        return replace(layout, arranged={window: block_mask(layout, window) for window in windows})

    def attend_packed(self, inputs: AttentionInputs) -> Tensor:
        if inputs.layout.arranged is None:
            return super().attend_packed(inputs)
        return inputs.needed(attend_with_blocks(inputs, _kernel()).transpose(1, 2).flatten(2))


def attend_with_blocks(inputs: AttentionInputs, kernel: Any) -> Tensor:
    """Attends within the packed documents of (1, H, T, D) by ``flex_attention``, given compiled or as it is."""
    modify = _score_mod(inputs) if inputs.position.adds_to_scores else None
    assert inputs.layout.arranged is not None
    visible = inputs.layout.arranged[inputs.layout.window]
    output: Tensor = kernel(scaled_query(inputs), inputs.key, inputs.value, score_mod=modify, block_mask=visible)
    return output


@cache
def _kernel() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def block_mask(layout: SequenceLayout, window: int | None) -> Any:
    """Returns the ``BlockMask`` of packed documents, of ``window`` tokens to each side. The blocks that a block of
    queries needs lie side by side, so they follow from the ends of its documents: no (T, T) matrix is made."""
    from torch.nn.attention.flex_attention import BlockMask

    bounds = layout.cu_seqlens
    assert bounds is not None
    total = sum(layout.lengths)
    documents = document_ids(bounds, total)
    firsts = torch.arange(0, total, _BLOCK_SIZE, device=bounds.device)
    lasts = (firsts + _BLOCK_SIZE - 1).clamp(max=total - 1)
    begin = bounds[documents[firsts]]
    end = lasts if layout.causal else bounds[documents[lasts] + 1] - 1
    if window is not None:
        begin, end = begin.maximum(firsts - window), end.minimum(lasts + window)
    begin, end = begin // _BLOCK_SIZE, end // _BLOCK_SIZE
    numbers = torch.arange(len(firsts), device=bounds.device)
    indices = (begin[:, None] + numbers).clamp(max=len(firsts) - 1)

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = documents[query] == documents[key]
        if window is not None:
            seen = seen & ((query - key).abs() <= window)
        return seen & (key <= query) if layout.causal else seen

    return BlockMask.from_kv_blocks(
        (end - begin + 1).int()[None, None],
        indices.int()[None, None],
        BLOCK_SIZE=_BLOCK_SIZE,
        mask_mod=visible,
        seq_lengths=(total, total),
    )


def _score_mod(inputs: AttentionInputs) -> Any:
    """Returns what adds an encoding's bias to a score."""
    table = positional_bias(inputs)
    bounds = inputs.layout.cu_seqlens
    assert bounds is not None
    starts = bounds[document_ids(bounds, inputs.query.shape[2])]
    middle = table.shape[-1] // 2

    def by_distance(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + table[head, (key - query + middle).clamp(0, table.shape[-1] - 1)]

    def by_positions(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        row, column = ((each - starts[each]).clamp(0, table.shape[-1] - 1) for each in (query, key))
        return score + table[head, row, column]

    return by_distance if table.dim() == 2 else by_positions


def positional_bias(inputs: AttentionInputs) -> Tensor:
    """Returns what the encoding adds to the scores of a query and a key of one document.

    Returns:
        (H, 2 K - 1) by n - m + K - 1 where only the distance counts, else (H, K, K) by m and n.
    """
    position, longest, device = inputs.position, inputs.layout.longest, inputs.query.device
    heads = inputs.query.shape[1]
    if not position.traits.shift_invariant:
        places = torch.arange(longest, device=device)
        rows = inputs.query.new_zeros(1, heads, longest, inputs.query.shape[-1])
        bias = position.score_bias(rows, rows, position.prepare(places[None]), layer=inputs.layer)
        assert bias is not None
        return bias.expand(1, heads, longest, longest)[0].float()
    places = torch.arange(2 * longest - 1, device=device)
    state = position.prepare(torch.cat((places, places[longest - 1 : longest]))[None])  # the last one is the query
    keys = inputs.query.new_zeros(1, heads, 2 * longest, inputs.query.shape[-1])
    bias = position.score_bias(keys[:, :, -1:], keys, state, layer=inputs.layer)
    assert bias is not None
    return bias.expand(1, heads, 1, 2 * longest)[0, :, 0, :-1].float()
