"""RoPE with sinusoids added to the token embeddings as well.

Source: what the code that section 4.4 of the RoFormer paper cites does where it is told to use rotary positions; not
the paper's equations, and no clean ablation of RoPE. The waves are eq. 4, the rotation eq. 34.
Checked against: ``sinusoidal`` and ``rope``.
"""

from torch import Tensor

from roformer.position._base import POSITION_ENCODINGS, ModelShape
from roformer.position.rope import Layout, RotaryPositionEncoding
from roformer.position.sinusoidal import SinusoidalPositionEncoding


@POSITION_ENCODINGS.register("sinusoidal_rope")
class SinusoidalRotaryPositionEncoding(RotaryPositionEncoding):
    """Rotates as ``rope`` and adds as ``sinusoidal``.

    Args:
        shape, base, layout: as in ``rope``; the waves have the same base.
        scale: as in ``sinusoidal``.

    Raises:
        UserError: as both do.
    """

    shift_invariant = False

    def __init__(
        self, shape: ModelShape, *, base: float = 10000.0, layout: Layout = "interleaved", scale: float = 0.02
    ) -> None:
        super().__init__(shape, base=base, layout=layout)
        self.waves = SinusoidalPositionEncoding(shape, base=base, scale=scale)

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        return self.waves.embed(hidden_states, position_ids)
