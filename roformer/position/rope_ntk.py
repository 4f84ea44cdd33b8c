"""RoPE with a larger base ("NTK-aware").

Source: bloc97 2023, as in Peng et al. 2023, arXiv:2309.00071, section 3.1 (eq. 16).
Checked against: its two conditions: the fastest pair keeps its pace, the slowest is slowed down by the factor.
"""

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_ntk")
class NtkRotaryPositionEncoding(RotaryPositionEncoding):
    """Raises the base such that the slowest pair turns ``factor`` times as slowly and the fastest as fast as before.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: length to reach over length trained at.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1 or only one pair is rotated.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        base: float = 10000.0,
        layout: Layout = "interleaved",
        partial_factor: float = 1.0,
        factor: float = 4.0,
    ) -> None:
        super().__init__(shape, base=base, layout=layout, partial_factor=partial_factor)
        if self.rotary_size == 2:
            raise UserError("rope_ntk needs two pairs of channels: widen the heads or raise partial_factor")
        if not factor >= 1:  # nan, too
            raise UserError(f"rope_ntk: factor must be at least 1, got {factor}")
        self.base *= factor ** (self.rotary_size / (self.rotary_size - 2))
