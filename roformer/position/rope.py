"""Rotary position embedding (RoPE).

Source: Su et al. 2021, arXiv:2104.09864, eq. 15 (frequencies) and eq. 34 (rotation).
Checked against: Llama, GPT-NeoX, GPT-J and stock RoFormer in transformers.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState
from roformer.position._waves import frequencies

Layout = Literal["interleaved", "half"]
Pairs = Literal["all", "fast", "slow"]


@POSITION_ENCODINGS.register("rope")
class RotaryPositionEncoding(PositionEncoding):
    """Turns each pair of channels by an angle that grows with the position, in queries and keys alike.

    The product of a query at m and a key at n then depends on m - n only (eq. 16). The defaults are the paper's.
    Works alone, too: ``RotaryPositionEncoding(ModelShape(hidden_size=64))(query, key, position_ids)``.

    Args:
        shape: sizes of the model; D = ``shape.head_size``.
        base: theta_i = base^(-2i/R) radians per token, i = 0 ... R/2 - 1; 10000 in the paper.
        layout: which channels form a pair: ``interleaved`` (2i, 2i+1) as in the paper and GPT-J, or ``half``
            (i, i + R/2) as in GPT-NeoX and Llama. Weights trained with one are wrong with the other.
        partial_factor: R/D, the share of the channels that are rotated, from the first on.
        pairs: of these, which turn: ``all``, or to find out what they are good for the half of them that turns
            ``fast`` or ``slow``.

    Raises:
        UserError: if R is odd or zero, the base is not above 1, or layout or pairs are unknown.
    """

    shift_invariant = True

    def __init__(
        self,
        shape: ModelShape,
        *,
        base: float = 10000.0,
        layout: Layout = "interleaved",
        partial_factor: float = 1.0,
        pairs: Pairs = "all",
    ) -> None:
        super().__init__()
        if not 0 < partial_factor <= 1:  # nan, too
            raise UserError(f"rope: partial_factor must lie in (0, 1], got {partial_factor}")
        self.rotary_size = round(shape.head_size * partial_factor)
        if self.rotary_size % 2 or not self.rotary_size:
            raise UserError(
                f"rope rotates pairs of channels and needs an even number of them, got {self.rotary_size} "
                f"(hidden_size {shape.hidden_size} / num_attention_heads {shape.num_attention_heads} x "
                f"partial_factor {partial_factor}); change one of the three"
            )
        if not base > 1:  # nan, too
            raise UserError(f"rope: base must be above 1, got {base}")
        if layout not in get_args(Layout):
            raise UserError(f"rope: unknown layout '{layout}' (available: {', '.join(get_args(Layout))})")
        if pairs not in get_args(Pairs):
            raise UserError(f"rope: unknown pairs '{pairs}' (available: {', '.join(get_args(Pairs))})")
        self.base = base
        self.layout = layout
        self.pairs = pairs

    def frequencies(self, position_ids: Tensor) -> Tensor:
        """Returns theta_i (R/2,), radians a token (eq. 15), in the precision that angles need.

        Args:
            position_ids: of the batch; some scalings depend on how far they reach.
        """
        thetas = frequencies(self.rotary_size, self.base, position_ids.device)
        if self.pairs != "all":
            half = len(thetas) // 2
            thetas[slice(half, None) if self.pairs == "fast" else slice(half)] = 0
        return thetas

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions (B or 1, L), whole or fractional, to e^(i angle), (B or 1, 1, L, R/2) in complex64 (eq. 12).

        The angles are float64 (where the device has it) and outside autocast: in bfloat16 the angle at position 500
        is off by more than a radian.
        """
        with torch.autocast(position_ids.device.type, enabled=False):
            thetas = self.frequencies(position_ids)
            angles = position_ids[:, None, :, None].to(thetas.dtype) * thetas
            turns = torch.complex(angles.cos().float(), angles.sin().float())
            return (turns if self.magnitude == 1 else turns * self.magnitude,)

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        """Turns (..., L, D) by the angles of ``state``, in float32 at least; the result has the dtype of ``x``.

        A pair of channels is a complex number, so that the four products of eq. 34 read and write memory once.
        """
        (turns,) = state
        rotary, rest = x[..., : self.rotary_size], x[..., self.rotary_size :]
        precise = torch.promote_types(x.dtype, torch.float32)
        rotary = rotary.to(precise, memory_format=torch.contiguous_format).contiguous()
        if self.layout == "interleaved":
            turned = torch.view_as_real(torch.view_as_complex(rotary.unflatten(-1, (-1, 2))) * turns).flatten(-2)
        else:
            turned = torch.complex(*rotary.chunk(2, dim=-1)) * turns
            turned = torch.cat((turned.real, turned.imag), dim=-1)
        turned = turned.to(x.dtype)
        return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned

    @staticmethod
    def reach(position_ids: Tensor) -> Tensor:
        """Returns the positions of the longest document of a batch, a 0-dimensional number."""
        return position_ids.max() - position_ids.min() + 1

    def forward(self, query: Tensor, key: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rotates (B, H, L, D) queries and keys at positions (B or 1, L); for use outside this package's models."""
        state = self.prepare(position_ids)
        return self.rotate(query, state), self.rotate_key(key, state)
