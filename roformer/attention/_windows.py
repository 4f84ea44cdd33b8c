"""Attention within a window by blocks: the work grows with the length, not with its square.

Source: Beltagy et al. 2020 (Longformer), arXiv:2004.05150, section 3 (sliding window, as overlapping blocks).
Checked against: a (Q, L) mask.
Shapes: B batch, H heads, L length, Q queries, D head size; N blocks of R queries and of K keys.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from roformer.attention.layout import seen_or_near

_ROWS = 64  # queries in a block, at least: products of fewer rows waste the machine


@dataclass(frozen=True)
class WindowBlocks:
    """Blocks of queries, each with the keys around it, as the rows of a batch.

    Attributes:
        query: (B N, H, R, D), filled up with zeros.
        key, value: (B N, H, K, D), filled up with zeros.
        mask: (B N, 1, R, K).
        shape: B, N and Q.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def of(
        cls, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, window: int, causal: bool
    ) -> "WindowBlocks | None":
        """Cuts (B, H, Q, D) queries, the last Q tokens, and (B, H, L, D) keys and values.

        Returns None where blocks would not save work, for a mask that is not the same for all queries, and in an
        exported graph, whose length is free.

        Args:
            mask: boolean, (B or 1, 1, 1, L).
            window: a query sees so many tokens to each side, besides itself.
            causal: to the left only.
        """
        batch, _, queries, _ = query.shape
        rows, after = max(window, _ROWS), 0 if causal else window
        count = -(-queries // rows)
        width = window + rows + after
        if torch.compiler.is_exporting() or (mask is not None and mask.shape[1:3] != (1, 1)):
            return None
        if count * rows * width >= queries * min(key.shape[2], queries + window):
            return None
        cut = _Cut(rows=rows, count=count, before=window, after=after, missing=window - key.shape[2] + queries)
        seen = key.new_ones(1, 1, key.shape[2], 1, dtype=torch.bool) if mask is None else mask.mT
        seen = cut.around(seen).mT  # (B or 1, N, 1, 1, K)
        key_places, query_places = (torch.arange(size, device=key.device) for size in (width, rows))
        distance = key_places - query_places[:, None]  # from the first key that a query may see
        near = (distance >= 0) & (distance <= window + after)
        visible = seen_or_near(seen, near).expand(batch, -1, -1, -1, -1)
        padded = F.pad(query, (0, 0, 0, count * rows - queries))
        return cls(
            padded.unflatten(2, (count, rows)).transpose(1, 2).flatten(0, 1),
            cut.around(key).flatten(0, 1),
            cut.around(value).flatten(0, 1),
            visible.flatten(0, 1),
            (batch, count, queries),
        )

    def join(self, output: Tensor) -> Tensor:
        """(B N, H, R, D) -> (B, H, Q, D)"""
        batch, count, queries = self.shape
        return output.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3)[:, :, :queries]


@dataclass(frozen=True)
class _Cut:
    """How keys are cut: ``count`` blocks of ``rows``, with so many ``before`` and ``after`` each.

    Attributes:
        missing: keys that there are not before the first block; if negative, those that nobody sees.
    """

    rows: int
    count: int
    before: int
    after: int
    missing: int

    def around(self, x: Tensor) -> Tensor:
        """(B, H, L, D) -> (B, N, H, K, D), zeros (False) where there is no key."""
        length = self.rows * self.count
        padded = F.pad(x, (0, 0, self.missing, self.before + length + self.after - self.missing - x.shape[2]))
        # three parts, not overlapping views: their gradients are slices as well
        first, middle, last = (
            padded[:, :, start : start + length].unflatten(2, (self.count, self.rows)).transpose(1, 2)
            for start in (0, self.before, self.before + self.after)
        )
        return torch.cat((first[..., : self.before, :], middle, last[..., self.rows - self.after :, :]), dim=3)
