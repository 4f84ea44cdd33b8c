"""Kernelized relative positions (KERPLE).

Source: Chi et al. 2022, arXiv:2205.09921, section 4 (the logarithmic and the power variant).
Checked against: the formulas token by token.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import positions_state, relative_positions

Variant = Literal["log", "power"]


@POSITION_ENCODINGS.register("kerple")
class KerplePositionEncoding(PositionEncoding):
    """Subtracts r1 log(1 + r2 |m - n|), or r1 |m - n|^r2, from the scores; both are trained, a pair a head and
    layer.

    Args:
        shape: sizes of the model.
        variant: ``log`` or ``power``; the paper finds ``log`` better beyond the training length.

    Raises:
        UserError: if the variant is unknown.
    """

    traits = Traits(shift_invariant=True, positional_bias=True)

    def __init__(self, shape: ModelShape, *, variant: Variant = "log") -> None:
        super().__init__()
        if variant not in get_args(Variant):
            raise UserError(f"kerple: unknown variant '{variant}' (available: {', '.join(get_args(Variant))})")
        self.variant = variant
        # raw numbers: r1 and r2 are positive, and r2 of the power variant is at most 2
        self.scale = nn.Parameter(torch.zeros(shape.num_hidden_layers, shape.num_attention_heads))
        self.shape = nn.Parameter(torch.zeros(shape.num_hidden_layers, shape.num_attention_heads))

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        distance = relative_positions(state, query, self.counted).abs()
        scale = nn.functional.softplus(self.scale[layer])[:, None, None]
        if self.variant == "log":
            return -scale * (nn.functional.softplus(self.shape[layer])[:, None, None] * distance).log1p()
        exponent = 2 * self.shape[layer].sigmoid()[:, None, None]
        return -scale * distance.clamp(min=torch.finfo(distance.dtype).tiny) ** exponent
