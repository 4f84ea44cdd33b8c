"""The top layer of a language model needs the output of some tokens only: attention from these queries alone.

Shapes: B batch, H heads, Q queries, N needed queries of all rows, M those of the row that has most.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class QuerySubset:
    """Some queries of each row.

    Attributes:
        gather_indices: (B, M) places of the needed queries; a row with fewer than M is filled up with others.
        valid: (B, M), False where a row is filled up.
    """

    gather_indices: Tensor
    valid: Tensor

    @classmethod
    def of(cls, query_mask: Tensor) -> "QuerySubset":
        """From (B, Q), True for the N needed queries."""
        counts = query_mask.sum(dim=1)
        indices = query_mask.byte().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(counts.max()))]
        return cls(indices, torch.arange(indices.shape[1], device=indices.device) < counts[:, None])

    def gather(self, x: Tensor) -> Tensor:
        """(B, H, Q, *) -> (B, H, M, *)"""
        return x.take_along_dim(self.gather_indices[:, None, :, None], dim=2)

    def gather_mask(self, mask: Tensor) -> Tensor:
        """As ``gather``, of a mask that may be the same for all queries."""
        return mask if mask.shape[2] == 1 else self.gather(mask)
