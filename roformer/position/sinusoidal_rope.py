"""RoPE with sinusoids added to the token embeddings as well.

Source: what the code that section 4.4 of the RoFormer paper cites does with its option for rotary positions; not
the paper's equations, and no clean ablation of RoPE. The waves are eq. 4, the rotation eq. 34.
Checked against: ``sinusoidal`` and ``rope``.
"""

from torch import Tensor

from roformer.position._base import POSITION_ENCODINGS, ModelShape, Traits
from roformer.position.rope import Layout, RotaryPositionEncoding
from roformer.position.sinusoidal import SinusoidalPositionEncoding


@POSITION_ENCODINGS.register("sinusoidal_rope")
class SinusoidalRotaryPositionEncoding(RotaryPositionEncoding):
    """Rotates as ``rope`` and adds as ``sinusoidal``.

    Args:
        shape, rope_theta, layout: as in ``rope``; ``rope_theta`` is the base of the sinusoids as well.
        scale: as in ``sinusoidal``.

    Raises:
        UserError: as both do.
    """

    traits = Traits(shift_invariant=False, rotation="isometric")

    def __init__(
        self, shape: ModelShape, *, rope_theta: float = 10000.0, layout: Layout = "interleaved", scale: float = 0.02
    ) -> None:
        super().__init__(shape, rope_theta=rope_theta, layout=layout)
        self.waves = SinusoidalPositionEncoding(shape, base=rope_theta, scale=scale)

    def embed(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        return self.waves.embed(hidden_states, position_ids)
