"""The contract of an attention backend, and which tokens may see which.

Shapes: B batch, H heads, L length, Q queries, D head size. Packed: B = 1 and L = T, all tokens of all documents.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.ops.dropout import Dropout
from roformer.position import ModelShape, PositionEncoding, PositionState
from roformer.registry import Registry


@dataclass(frozen=True)
class SequenceLayout:
    """Which tokens may attend to which: all, those of a mask, or those of the same document.

    Attributes:
        mask: boolean, broadcastable to (B, H, Q, L); True where the query (row) may see the key (column).
        lengths: tokens in each packed document, in order.
        causal: of these, no token may attend to those after it.
    """

    mask: Tensor | None = None
    lengths: tuple[int, ...] | None = None
    causal: bool = False

    @classmethod
    def padded(cls, attention_mask: Tensor | None, *, causal: bool = False) -> "SequenceLayout":
        """From a (B, L) mask that is 0 or False at padding.

        Raises:
            UserError: if the mask is not two-dimensional.
        """
        if attention_mask is None:
            return cls(causal=causal)
        if attention_mask.dim() != 2:
            raise UserError(
                f"attention_mask must be (batch, length), got {tuple(attention_mask.shape)}; "
                "for several documents in a row give cu_seqlens"
            )
        return cls(mask=attention_mask.bool()[:, None, None, :], causal=causal)

    @classmethod
    def packed(cls, cu_seqlens: Tensor, total: int, *, causal: bool = False) -> "SequenceLayout":
        """From (documents + 1,) cumulative lengths that start at 0 and end at ``total`` tokens.

        Under ``torch.compile`` the lengths are not known to Python, so that a (T, T) mask takes their place.

        Raises:
            UserError: if the cumulative lengths do not fit the tokens.
        """
        if torch.compiler.is_compiling():
            documents = document_ids(cu_seqlens, total)
            return cls(mask=(documents[:, None] == documents[None, :])[None, None], causal=causal)
        bounds = cu_seqlens.tolist()
        lengths = tuple(stop - start for start, stop in pairwise(bounds))
        if not lengths or bounds[0] != 0 or bounds[-1] != total or min(lengths) < 1:
            raise UserError(f"cu_seqlens must rise from 0 to the number of tokens {total}, got {bounds[:4]} ...")
        return cls(lengths=lengths, causal=causal)

    def runs(self) -> list[tuple[int, int]]:
        """Returns (documents, tokens each) for every run of packed documents of one length."""
        return [(len(list(group)), length) for length, group in groupby(self.lengths or ())]


def document_ids(cu_seqlens: Tensor, total: int) -> Tensor:
    """Returns the (total,) number of the packed document that each token belongs to, from 0."""
    tokens = torch.arange(total, device=cu_seqlens.device)
    return torch.searchsorted(cu_seqlens[1:].contiguous(), tokens, right=True)


def of_queries(state: PositionState, query: Tensor) -> PositionState:
    """Returns the part of a state of L tokens that is about the (B, H, Q, D) queries, the last of them."""
    return tuple(each[:, :, -query.shape[2] :] for each in state)


class AttentionBackend(nn.Module, ABC):
    """Lets tokens read others, with positions, on padded or packed sequences.

    Args:
        shape: sizes of the model.
        dropout: probability that an attention weight is dropped in training.
        rotary_value: rotate the values as well (``rotary_value`` of stock RoFormer).

    What else a backend takes, by keyword only, are the settings of its yaml.
    """

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.rotary_value = rotary_value

    def reset_buffers(self) -> None:
        """Draws anew what is random beside the weights."""

    @classmethod
    def check(cls, position: PositionEncoding) -> None:
        """Raises ``UserError`` if this backend cannot do what an encoding needs."""

    def turn(
        self, query: Tensor, key: Tensor, value: Tensor, position: PositionEncoding, state: PositionState
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries (B, H, Q, D), keys and values (B, H, L, D) for ``attend_part``: rotated (eq. 16)."""
        query, key = position.rotate(query, of_queries(state, query)), position.rotate_key(key, state)
        return query, key, position.rotate(value, state) if self.rotary_value else value

    @abstractmethod
    def attend_part(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        state: PositionState,
        query_mask: Tensor | None,
        *,
        position: PositionEncoding,
        mask: Tensor | None,
        causal: bool,
        layer: int,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over (B, H, L, D) of ``turn``; returns what ``forward`` does. With ``causal``, the queries are the
        last Q tokens, and see none after themselves."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        position: PositionEncoding,
        state: PositionState,
        layout: SequenceLayout,
        layer: int,
        query_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over (B, H, L, D), and lays the heads side by side.

        Args:
            query, key, value: (B, H, L, D), not rotated. Where earlier tokens have been cached, the queries are the
                last ones only, (B, H, Q, D).
            position: the encoding, and ``state``, what its ``prepare`` returned of all L tokens.
            layout: who may see whom.
            layer: number of the layer, from 0.
            query_mask: (B, L), True for the N tokens whose output is wanted; None for all.

        Returns:
            (B, Q, H D), or (N, H D) with ``query_mask``; and the weights, which are None for packed sequences, for a
            part of the tokens, and for backends without them.
        """
        query, key, value = self.turn(query, key, value, position, state)
        causal = layout.causal and query.shape[2] > 1  # a single query is the last token: it sees all
        attend = partial(self.attend_part, position=position, mask=layout.mask, causal=causal, layer=layer)
        if layout.lengths is None:
            return attend(query, key, value, state, query_mask)

        runs = layout.runs()
        sizes = [documents * length for documents, length in runs]
        # split, not slices: the gradient of each slice would be as large as the whole
        parts = (x.split(sizes, dim=2) for x in (query, key, value, *state))
        wanted = [None] * len(runs) if query_mask is None else query_mask[0].split(sizes)
        outputs = []
        for (documents, length), part, *run in zip(runs, wanted, *parts, strict=True):
            # documents of one length make a batch; a single one is a view that products take as it is
            q, k, v, *rest = (x.unflatten(2, (documents, length)).squeeze(0).transpose(0, 1) for x in run)
            if documents > 1:
                q, k, v = (x.contiguous() for x in (q, k, v))
            part = None if part is None else part.unflatten(0, (documents, length))
            output, _ = attend(q, k, v, tuple(rest), part)
            outputs.append(output if part is not None else output.flatten(0, 1))
        output = torch.cat(outputs)
        return output if query_mask is not None else output[None], None


ATTENTION_BACKENDS: Registry[AttentionBackend] = Registry("attention backend")
