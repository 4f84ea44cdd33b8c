"""Attention with linear biases (ALiBi), for encoders.

Source: Press et al. 2022, arXiv:2108.12409, section 3; both sides of a token as its author proposes for encoders
(https://github.com/ofirpress/attention_with_linear_biases/issues/5).
Checked against: BLOOM in transformers (slopes and distances), and the formula token by token (asymmetric).
"""

import math

import torch
from torch import Tensor, nn

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import positions_state, relative_positions


@POSITION_ENCODINGS.register("alibi")
class AlibiPositionEncoding(PositionEncoding):
    """Subtracts slope x |m - n| from the scores; the slope of each head is a power of 2.

    Args:
        shape: sizes of the model.
        asymmetric: each head has a slope for keys before and one for keys after the query, trained from the fixed
            ones on, instead of one fixed slope for both.
    """

    traits = Traits(shift_invariant=True, positional_bias=True)

    def __init__(self, shape: ModelShape, *, asymmetric: bool = False) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        # logarithms of what the fixed slopes are multiplied by, before and after the query
        self.log_changes = nn.Parameter(torch.zeros(2, self.heads)) if asymmetric else None

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        distance = relative_positions(state, query, self.counted)
        fixed = slopes(self.heads).to(distance.device)[:, None, None]
        if self.log_changes is None:
            return -fixed * distance.abs()
        before, after = fixed * self.log_changes.float().exp()[..., None, None]
        return -before * distance.clamp(min=0) + after * distance.clamp(max=0)


def slopes(heads: int) -> Tensor:
    """Returns (H,): 2^(-8 h / H), h = 1 ... H; where H is no power of 2, those of the power below, and every other one
    of twice that power."""
    power = 2 ** math.floor(math.log2(heads))
    exponents = [8 * h / power for h in range(1, power + 1)]
    exponents += [8 * h / (2 * power) for h in range(1, 2 * power + 1, 2)][: heads - power]
    return 2.0 ** -torch.tensor(exponents)
