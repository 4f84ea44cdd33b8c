"""No positions at all: the encoder sees a bag of tokens. The floor of every comparison.

Source: RoFormer paper, section 2.1, without p_i.
Checked against: a permutation of the tokens changes nothing.
"""

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, Traits


@POSITION_ENCODINGS.register("none")
class NoPositionEncoding(PositionEncoding):
    """Leaves everything as it is (``shape`` is accepted as for every encoding)."""

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
