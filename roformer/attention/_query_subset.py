"""The top layer of a language model needs the output of some tokens only: attention from these queries alone.

Shapes: B batch, H heads, Q queries, N needed queries of all rows, M those of the row that has most, D head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class QuerySubset:
    """Some queries of each row.

    Attributes:
        gather_indices: (B, M) places of the needed queries in their rows; a row with fewer than M is filled up with
            the first one.
        rows, columns: (N,) where each needed query is found in (B, M).
    """

    gather_indices: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, query_indices: Tensor, rows: int, queries: int) -> "QuerySubset":
        """From rising (N,) places in (B * Q) tokens; the host waits for the number of them in each row."""
        row = query_indices // queries
        counts = row.bincount(minlength=rows)
        column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        gather_indices = row.new_zeros(rows, max(1, int(counts.max())))
        gather_indices[row, column] = query_indices % queries
        return cls(gather_indices, row, column)

    def gather(self, x: Tensor) -> Tensor:
        """(B, H, Q, *) -> (B, H, M, *)"""
        return x.take_along_dim(self.gather_indices[:, None, :, None], dim=2)

    def gather_mask(self, mask: Tensor) -> Tensor:
        """As ``gather``, of a mask that may be the same for all queries."""
        return mask if mask.shape[2] == 1 else self.gather(mask)

    def needed(self, output: Tensor) -> Tensor:
        """(B, H, M, D) -> (N, H D), without what rows were filled up with."""
        return output.transpose(1, 2)[self.rows, self.columns].flatten(1)
