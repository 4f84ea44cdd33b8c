"""The contract of an attention backend, and which tokens may see which.

Shapes: B batch, H heads, L length, D head size. Packed: B = 1 and L = T, all tokens of all documents.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from roformer.dropout import Dropout
from roformer.errors import UserError
from roformer.position import PositionEncoding, PositionState
from roformer.registry import Registry


@dataclass(frozen=True)
class SequenceLayout:
    """Which tokens may attend to which: all (both None), those of a mask, or those of the same document.

    Attributes:
        mask: boolean, broadcastable to (B, H, L, L); True where the query (row) may see the key (column).
        lengths: tokens in each packed document, in order.
    """

    mask: Tensor | None = None
    lengths: tuple[int, ...] | None = None

    @classmethod
    def padded(cls, attention_mask: Tensor | None) -> "SequenceLayout":
        """From a (B, L) mask that is 0 or False at padding.

        Raises:
            UserError: if the mask is not two-dimensional.
        """
        if attention_mask is None:
            return cls()
        if attention_mask.dim() != 2:
            raise UserError(
                f"attention_mask must be (batch, length), got {tuple(attention_mask.shape)}; "
                "for several documents in a row give cu_seqlens"
            )
        return cls(mask=attention_mask.bool()[:, None, None, :])

    @classmethod
    def packed(cls, cu_seqlens: Tensor, total: int) -> "SequenceLayout":
        """From (documents + 1,) cumulative lengths that start at 0 and end at ``total`` tokens.

        Under ``torch.compile`` the lengths are not known to Python, so that a (T, T) mask takes their place.

        Raises:
            UserError: if the cumulative lengths do not fit the tokens.
        """
        if torch.compiler.is_compiling():
            documents = document_ids(cu_seqlens, total)
            return cls(mask=(documents[:, None] == documents[None, :])[None, None])
        bounds = cu_seqlens.tolist()
        lengths = tuple(stop - start for start, stop in pairwise(bounds))
        if not lengths or bounds[0] != 0 or bounds[-1] != total or min(lengths) < 1:
            raise UserError(f"cu_seqlens must rise from 0 to the number of tokens {total}, got {bounds[:4]} ...")
        return cls(lengths=lengths)

    def runs(self) -> list[tuple[int, int]]:
        """Returns (documents, tokens each) for every run of packed documents of one length."""
        return [(len(list(group)), length) for length, group in groupby(self.lengths or ())]


def document_ids(cu_seqlens: Tensor, total: int) -> Tensor:
    """Returns the (total,) number of the packed document that each token belongs to, from 0."""
    tokens = torch.arange(total, device=cu_seqlens.device)
    return torch.searchsorted(cu_seqlens[1:].contiguous(), tokens, right=True)


class AttentionBackend(nn.Module, ABC):
    """softmax(q k^T / sqrt(D) + bias) v (eq. 2) with positions (eq. 16), on padded or packed sequences.

    Args:
        dropout: probability that an attention weight is dropped in training.
        rotary_value: rotate the values as well (``rotary_value`` of stock RoFormer).
    """

    def __init__(self, *, dropout: float, rotary_value: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.rotary_value = rotary_value

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Attends within (B, H, L, D); returns that shape, and the (B, H, L, L) weights where it has them."""

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
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over (B, H, L, D); the weights are None for packed sequences and for backends without them."""
        query, key = position.rotate(query, state), position.rotate(key, state)
        if self.rotary_value:
            value = position.rotate(value, state)
        if layout.lengths is None:
            bias = position.score_bias(query, key, state, layer=layer)
            return self.attend(query, key, value, layout.mask, bias)

        runs = layout.runs()
        # split, not slices: the gradient of each slice would be as large as the whole
        parts = (
            x.split([documents * length for documents, length in runs], dim=2) for x in (query, key, value, *state)
        )
        outputs = []
        for (documents, length), *run in zip(runs, *parts, strict=True):  # documents of one length make a batch
            q, k, v, *part = (x.unflatten(2, (documents, length)).squeeze(0).transpose(0, 1) for x in run)
            output, _ = self.attend(q, k, v, None, position.score_bias(q, k, tuple(part), layer=layer))
            outputs.append(output.transpose(0, 1).flatten(1, 2))
        return torch.cat(outputs, dim=1)[None], None


ATTENTION_BACKENDS: Registry[AttentionBackend] = Registry("attention backend")
