"""RoPE with a larger base ("NTK-aware").

Source: bloc97 2023, as in Peng et al. 2023, arXiv:2309.00071, section 3.1 (eq. 16).
Checked against: its two conditions: the fastest pair keeps its pace, the slowest is slowed down by the factor.
"""

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_ntk")
class NtkRotaryPositionEncoding(RotaryPositionEncoding):
    """Raises ``rope_theta`` such that the slowest pair rotates ``factor`` times as slowly and the fastest as before.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: target length / training length.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1 or only one pair is rotated.
    """

    scales = RotaryPositionEncoding

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        factor: float = 4.0,
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout, partial_rotary_factor=partial_rotary_factor)
        if self.rotary_size == 2:
            raise UserError("rope_ntk needs two pairs of channels: widen the heads or raise partial_rotary_factor")
        if not factor >= 1:  # nan, too
            raise UserError(f"rope_ntk: factor must be at least 1, got {factor}")
        self.rope_theta *= factor ** (self.rotary_size / (self.rotary_size - 2))
