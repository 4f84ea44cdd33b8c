"""Functional interpolation for relative positions (FIRE).

Source: Li et al. 2023, arXiv:2310.04418, section 4 (eq. 4 with progressive interpolation and its threshold).
Checked against: the formula token by token.
"""

import torch
from torch import Tensor, nn

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._relative import positions_state, relative_positions


@POSITION_ENCODINGS.register("fire")
class FirePositionEncoding(PositionEncoding):
    """Adds f(psi(m - n) / psi(max(m, L))), psi(x) = log(1 + c x), to the scores: f is a small network, shared by all
    layers, with one output a head; c and the threshold L are trained.

    The paper's decoders have no keys after the query. Here psi keeps the sign of the distance, so that f can
    distinguish left from right.

    Args:
        shape: sizes of the model.
        width: of the network's hidden layer.
        threshold: L at the start, in tokens: positions up to it are not compressed.
        compression: c at the start, per token.

    Raises:
        UserError: if a number is not positive.
    """

    traits = Traits(shift_invariant=False, positional_bias=True)  # m is in the denominator

    def __init__(
        self, shape: ModelShape, *, width: int = 32, threshold: float = 512.0, compression: float = 0.1
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("threshold", threshold), ("compression", compression)):
            if not value > 0:
                raise UserError(f"fire: {name} must be positive, got {value}")
        self.network = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, shape.num_attention_heads))
        self.threshold, self.compression = threshold, compression
        # logarithms of what the two are multiplied by
        self.threshold_change, self.compression_change = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        (positions,) = state
        distance = relative_positions(state, query, self.counted)
        compression = self.compression * self.compression_change.float().exp()
        threshold = self.threshold * self.threshold_change.float().exp()
        furthest = torch.maximum(positions[: distance.shape[0], :, -query.shape[2] :], threshold)
        share = distance.sign() * (compression * distance.abs()).log1p() / (compression * furthest).log1p()
        share = share[:, 0, :, :, None].to(self.threshold_change.dtype)
        bias: Tensor = self.network(share).permute(0, 3, 1, 2)
        return bias
