"""RoPE with position interpolation.

Source: Chen et al. 2023, arXiv:2306.15595, section 3.2 (eq. 4).
Checked against: ``linear`` in transformers.
"""

from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding


@POSITION_ENCODINGS.register("rope_linear")
class LinearRotaryPositionEncoding(RotaryPositionEncoding):
    """Divides all positions by ``factor``: a text ``factor`` times as long has the angles of training.

    Args:
        shape, rope_theta, layout, partial_rotary_factor: as in ``rope``.
        factor: target length / training length.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1.
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
        if not factor >= 1:  # nan, too
            raise UserError(f"rope_linear: factor must be at least 1, got {factor}")
        self.factor = factor

    def frequencies(self, position_ids: Tensor) -> Tensor:
        return super().frequencies(position_ids) / self.factor
