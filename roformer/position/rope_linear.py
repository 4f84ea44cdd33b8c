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
    """Divides all positions by ``factor``, so that a text that many times as long has the angles of training.

    Args:
        shape, base, layout, partial_factor: as in ``rope``.
        factor: length to reach over length trained at.

    Raises:
        UserError: as ``rope`` does, or if the factor is below 1.
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
        if not factor >= 1:  # nan, too
            raise UserError(f"rope_linear: factor must be at least 1, got {factor}")
        self.factor = factor

    def frequencies(self, position_ids: Tensor) -> Tensor:
        return super().frequencies(position_ids) / self.factor
