"""Sums over the packed documents of a row without a loop over them: in chunks, each of tokens of one document.

Shapes: H heads, T tokens, N chunks of C tokens, M documents, F features, E channels of a value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from roformer.attention.layout import SequenceLayout, document_ids


@dataclass(frozen=True)
class DocumentChunks:
    """Each document cut into chunks of C tokens, the last one filled up.

    Their number is a bound that follows from shapes, so that the host need not wait: T / C and one per document.

    Attributes:
        tokens: (N, C) place of each token in the row; any place in what is filled up.
        real: (N, C), False there.
        documents: (N,) of each chunk; some chunks at the end are of none, and empty.
        places: (T,) where each token is found in (N * C).
        causal: no token attends to a later one.
    """

    tokens: Tensor
    real: Tensor
    documents: Tensor
    places: Tensor
    causal: bool

    @classmethod
    def of(cls, layout: SequenceLayout, total: int, size: int) -> "DocumentChunks":
        """Cuts the documents of ``layout``, ``total`` tokens, into chunks of ``size``."""
        bounds = layout.cu_seqlens
        assert bounds is not None
        bounds = bounds.long()
        count = len(bounds) - 1
        chunk_bounds = torch.cat((bounds[:1], ((bounds.diff() + size - 1) // size).cumsum(0)))
        numbers = torch.arange(total // size + count, device=bounds.device)
        documents = torch.searchsorted(chunk_bounds[1:], numbers, right=True).clamp(max=count - 1)
        first = bounds[documents] + (numbers - chunk_bounds[documents]) * size
        tokens = first[:, None] + torch.arange(size, device=bounds.device)
        real = tokens < bounds[documents + 1, None]
        own = document_ids(bounds, total)
        within = torch.arange(total, device=bounds.device) - bounds[own]
        return cls(tokens.clamp(max=total - 1), real, documents, chunk_bounds[own] * size + within, layout.causal)

    def sums(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Returns sum_n (q_m k_n) v_n over the tokens n of the document of m, or those up to m if causal.

        Args:
            query, key: (1, H, T, F), of the type that products are taken in.
            value: (1, H, T, E), of the same type.

        Returns:
            (1, H, T, E), in float32 at least.
        """
        precise = torch.promote_types(value.dtype, torch.float32)
        query, key, value = (x[0][:, self.tokens] for x in (query, key, value))  # (H, N, C, *)
        key = key * self.real[..., None]
        steps = (key.mT @ value).to(precise)  # (H, N, F, E)
        if self.causal:
            before = steps.cumsum(dim=1) - steps
            first = torch.searchsorted(self.documents, self.documents)  # chunk of each document
            earlier = before - before[:, first]
            found = (query @ earlier.to(value.dtype)).to(precise) + (query @ key.mT).tril().to(value.dtype) @ value
        else:
            shape = (steps.shape[0], len(self.documents), *steps.shape[2:])
            whole = steps.new_zeros(shape).index_add(1, self.documents, steps)[:, self.documents]
            found = (query @ whole.to(value.dtype)).to(precise)
        return found.flatten(1, 2)[None, :, self.places]
