"""A bias that falls with the square root of the distance.

Source: an example of tests/test_extension.py.
Checked against: nothing.
"""

from torch import Tensor

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits


@POSITION_ENCODINGS.register("toy")
class SquareRootPositionEncoding(PositionEncoding):
    """Adds -slope sqrt(|m - n|) to the scores.

    Args:
        shape: sizes of the model.
        slope: per square root of a token.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope

    def prepare(self, position_ids: Tensor) -> PositionState:
        return (position_ids[:, None, :, None].float(),)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        (positions,) = state
        return -self.slope * (positions[:, :, -query.shape[2] :] - positions.mT).abs().sqrt()
