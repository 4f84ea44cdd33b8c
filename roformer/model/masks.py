"""Masks that say for each token which others it sees. Shapes: B batch, L length."""

import torch
from torch import Tensor


def unilm_mask(token_type_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Returns (B, L, L): a text of type 0 is read from both sides, and one of type 1, which follows it, is written.

    Source: Dong et al. 2019 (UniLM), arXiv:1905.03197; RoFormer-Sim writes similar sentences so.

    Args:
        token_type_ids: (B, L), 0 for the source, 1 for the target.
        attention_mask: (B, L), 0 at padding.
    """
    order = token_type_ids.cumsum(dim=1)
    seen = order[:, None, :] <= order[:, :, None]
    return seen if attention_mask is None else seen & attention_mask.to(torch.bool)[:, None, :]
