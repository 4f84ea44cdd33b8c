"""Where the tokens of a batch stand and which of them see each other, from the arguments that users give.

Shapes: B batch, L length, P cached tokens, T tokens of a packed batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from roformer.attention import SequenceLayout, document_ids
from roformer.errors import UserError


@dataclass(frozen=True)
class Arrangement:
    """The tokens of one call.

    Attributes:
        layout: which of them see each other.
        position_ids: (B or 1, P + L), of the cached tokens and of these.
        cu_seqlens: (documents + 1,) cumulative lengths of packed documents; None for padded sequences.
        counted: tokens in each row or packed document, where the positions in all of them are 0, 1, 2 ...; else None.
    """

    layout: SequenceLayout
    position_ids: Tensor
    cu_seqlens: Tensor | None = None
    counted: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        *,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        cu_seqlens: Tensor | None,
        document_lengths: Sequence[int] | None,
        causal: bool,
        past: int,
        paged: bool = False,
    ) -> "Arrangement":
        """Arranges (B, L, E) embeddings; the arguments are those of ``RoFormerModel.forward``.

        Args:
            causal: no token sees a later one.
            past: number of cached tokens, P.
            paged: the cache decides how many keys there are.

        Raises:
            UserError: if they contradict each other.
        """
        batch, length = inputs.shape[:2]
        if position_ids is not None:
            _check_positions(position_ids, batch, length)
            if cu_seqlens is None and attention_mask is None and not past:
                cu_seqlens, attention_mask = _documents(position_ids, causal)
        causal = causal and length > 1  # a single token is the last one and attends to all
        if cu_seqlens is not None:
            if attention_mask is not None or batch != 1:
                raise UserError(
                    f"packed input is (1, T) with cu_seqlens and no attention_mask; got a batch of {batch}"
                )
            layout = SequenceLayout.packed(cu_seqlens, length, causal=causal, lengths=document_lengths)
        elif document_lengths is not None:
            raise UserError("document_lengths are of packed documents; give cu_seqlens as well")
        else:
            keys = None if paged else past + length
            layout = SequenceLayout.padded(attention_mask, (batch, length, keys), causal=causal)
        counted = None
        if position_ids is None:
            position_ids = _count(inputs, attention_mask, cu_seqlens, past)
            if attention_mask is None and not past:
                counted = (length,) * batch if cu_seqlens is None else layout.lengths or None
        elif past:
            # nothing attends to the padding before the text: any position that every table has will do
            before = (position_ids[:, :1] - torch.arange(past, 0, -1, device=inputs.device)).clamp(min=0)
            position_ids = torch.cat((before, position_ids), dim=1)
        return cls(layout, position_ids, cu_seqlens, counted)


def _check_positions(position_ids: Tensor, batch: int, length: int) -> None:
    if position_ids.dim() != 2 or position_ids.shape[0] not in (1, batch) or position_ids.shape[1] != length:
        raise UserError(f"position_ids must be ({batch}, {length}), got {tuple(position_ids.shape)}")


def bounds_of_documents(position_ids: Tensor | None) -> Tensor | None:
    """Returns the (documents + 1,) cumulative lengths of the documents in one row (1, T) whose positions start again
    at 0; None for other positions, and in a compiled graph, whose shapes cannot depend on them."""
    if position_ids is None or len(position_ids) > 1 or torch.compiler.is_compiling():
        return None
    bounds = (position_ids[0, 1:] == 0).nonzero()[:, 0] + 1
    if position_ids.is_floating_point() or not len(bounds):
        return None
    return F.pad(F.pad(bounds, (1, 0)), (0, 1), value=position_ids.shape[1])


def _documents(position_ids: Tensor, causal: bool) -> tuple[Tensor | None, Tensor | None]:
    """Returns the cumulative lengths of the documents in a row whose positions start again at 0, as padding-free
    collators pack them; for several rows a (B, L, L) mask instead; neither where no position starts again."""
    starts = position_ids == 0
    if position_ids.is_floating_point() or not (torch.compiler.is_compiling() or bool(starts[:, 1:].any())):
        return None, None
    if (bounds := bounds_of_documents(position_ids)) is not None:
        return bounds, None
    numbers = starts.cumsum(dim=1)
    mask = numbers[:, :, None] == numbers[:, None, :]
    return None, mask.tril() if causal else mask


def _count(inputs: Tensor, attention_mask: Tensor | None, cu_seqlens: Tensor | None, past: int) -> Tensor:
    """Returns positions 0, 1, 2 ... from the first token that is no padding, and anew in each packed document."""
    length = inputs.shape[1]
    tokens = torch.arange(past + length, device=inputs.device)[None]
    if cu_seqlens is not None:
        return tokens - cu_seqlens[document_ids(cu_seqlens, length)]
    if attention_mask is not None and attention_mask.dim() == 2:
        padding = attention_mask.long().argmax(dim=1, keepdim=True)  # on the left
        # on a CPU one row of positions serves all where it can; elsewhere the host would wait for the answer
        if torch.compiler.is_compiling() or inputs.device.type != "cpu" or bool(padding.any()):
            tokens = (tokens - padding).clamp(min=0)
    return tokens
