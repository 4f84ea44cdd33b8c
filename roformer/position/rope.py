"""Rotary position embedding (RoPE).

Source: Su et al. 2021, arXiv:2104.09864, eq. 15 (frequencies) and eq. 34 (rotation).
Checked against: Llama, GPT-NeoX, GPT-J and Hugging Face RoFormer in transformers.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from roformer.errors import UserError
from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._frequencies import angles_at, frequencies
from roformer.position._rotation import rotate_half, rotate_interleaved

Layout = Literal["interleaved", "half"]
FrequencyBand = Literal["all", "high", "low"]


@POSITION_ENCODINGS.register("rope")
class RotaryPositionEncoding(PositionEncoding):
    """Rotates each pair of channels by an angle that grows with the position, in both queries and keys.

    The product of a query at m and a key at n then depends on m - n only (eq. 16). The defaults are the paper's.

    Args:
        shape: sizes of the model; D = ``shape.head_size``.
        rope_theta: theta_i = rope_theta^(-2i/R) radians per token, i = 0 ... R/2 - 1; 10000 in the paper.
        layout: which channels form a pair: ``interleaved`` (2i, 2i+1) as in the paper and GPT-J, or ``half``
            (i, i + R/2) as in GPT-NeoX and Llama. Weights trained with one are wrong with the other.
        partial_rotary_factor: R/D, the share of the channels that are rotated, from the first on.
        frequency_band: which of these pairs rotate: ``all``, or, for ablations, the half of them with ``high`` or
            ``low`` frequencies.

    Raises:
        UserError: if R is odd or zero, rope_theta is not above 1, or layout or frequency_band are unknown.
    """

    attention_scaling: float = 1.0
    """``rotate`` multiplies queries and keys by it; some scalings sharpen attention in long texts with it."""
    real_arithmetic: bool = False
    """Whether it avoids complex numbers, which no compiler fuses, on a CPU as well: set where layers are compiled."""
    follows_length: ClassVar[bool] = False
    """Whether the frequencies depend on the length of the text."""

    def __init__(
        self,
        shape: ModelShape,
        *,
        rope_theta: float = 10000.0,
        layout: Layout = "interleaved",
        partial_rotary_factor: float = 1.0,
        frequency_band: FrequencyBand = "all",
    ) -> None:
        super().__init__()
        if not 0 < partial_rotary_factor <= 1:  # nan, too
            raise UserError(f"rope: partial_rotary_factor must lie in (0, 1], got {partial_rotary_factor}")
        self.head_size = shape.head_size
        self.rotary_size = round(shape.head_size * partial_rotary_factor)
        if self.rotary_size % 2 or not self.rotary_size:
            raise UserError(
                f"rope rotates pairs of channels and needs an even number of them, got {self.rotary_size} "
                f"(hidden_size {shape.hidden_size} / num_attention_heads {shape.num_attention_heads} x "
                f"partial_rotary_factor {partial_rotary_factor}); change one of the three"
            )
        if not rope_theta > 1:  # nan, too
            raise UserError(f"rope: rope_theta must be above 1, got {rope_theta}")
        if layout not in get_args(Layout):
            raise UserError(f"rope: unknown layout '{layout}' (available: {', '.join(get_args(Layout))})")
        if frequency_band not in get_args(FrequencyBand):
            available = ", ".join(get_args(FrequencyBand))
            raise UserError(f"rope: unknown frequency_band '{frequency_band}' (available: {available})")
        self.rope_theta, self.layout, self.frequency_band = rope_theta, layout, frequency_band

    @property
    def traits(self) -> Traits:
        rotation: Literal["isometric", "scaled"] = "isometric" if self.attention_scaling == 1 else "scaled"
        return Traits(shift_invariant=True, rotation=rotation, pointwise=not self.follows_length)

    def frequencies(self, position_ids: Tensor) -> Tensor:
        """Returns theta_i (R/2,), radians per token (eq. 15), in the precision that angles need.

        Args:
            position_ids: of the batch; some scalings depend on the longest text in it.
        """
        thetas = frequencies(self.rotary_size, self.rope_theta, position_ids.device)
        if self.frequency_band != "all":
            half = len(thetas) // 2
            thetas[slice(half, None) if self.frequency_band == "high" else slice(half)] = 0
        return thetas

    def angles(self, position_ids: Tensor) -> Tensor:
        """Maps positions (B or 1, L), whole or fractional, to angles (B or 1, L, R/2), in radians."""
        return angles_at(position_ids[..., None], self.frequencies(position_ids))

    def prepare(self, position_ids: Tensor) -> PositionState:
        """Maps positions to what ``rotate`` multiplies by: e^(i angle), (B or 1, 1, L, R/2) in complex64 (eq. 12), or
        its real and imaginary part where complex numbers are slow (``half``, accelerators) or unknown (graphs).

        The angles are float64 (where the device has it) and outside autocast: in bfloat16 the angle at position 500
        is off by more than a radian.
        """
        with torch.autocast(position_ids.device.type, enabled=False):
            angles = self.angles(position_ids)[:, None]
            cos, sin = angles.cos().float(), angles.sin().float()
            in_graph = torch.compiler.is_compiling() or torch.compiler.is_exporting()
            is_eager_on_cpu = position_ids.device.type == "cpu" and not in_graph
            is_real = self.layout == "half" or self.real_arithmetic or not is_eager_on_cpu
            turn = (cos, sin) if is_real else (torch.complex(cos, sin),)
            return turn if self.attention_scaling == 1 else tuple(each * self.attention_scaling for each in turn)

    def rotate(self, x: Tensor, state: PositionState) -> Tensor:
        """Rotates (..., L, D) by the angles of ``state``, in float32 at least; the result has the dtype of ``x``."""
        rotary, rest = x[..., : self.rotary_size], x[..., self.rotary_size :]
        rotated = (rotate_half if self.layout == "half" else rotate_interleaved)(rotary, state)
        return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated

    @staticmethod
    def max_extent(position_ids: Tensor) -> Tensor:
        """Returns how many positions the longest document of a batch spans, a 0-dimensional number."""
        return position_ids.max() - position_ids.min() + 1

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        position_ids: Tensor | None = None,
        *,
        offset: int = 0,
        sequence_dim: Literal[1, 2] = 2,
    ) -> tuple[Tensor, Tensor]:
        """Rotates queries and keys of an attention outside of this package's models.

        Args:
            query: (B, H, Q, D), of the last Q of the L tokens: of all, unless keys come from a cache.
            key: (B, H, L, D); it may have fewer heads.
            position_ids: of the keys, (L,) or (B or 1, L), whole or fractional; by default they rise from ``offset``.
            offset: position of the first key.
            sequence_dim: 2 as above, 1 for (B, L, H, D).

        Raises:
            UserError: if the shapes do not fit.
        """
        for x in (query, key):
            if x.dim() != 4 or x.shape[-1] != self.head_size:
                raise UserError(
                    f"queries and keys must be (batch, heads, length, {self.head_size}), or with sequence_dim=1 "
                    f"(batch, length, heads, {self.head_size}), got {tuple(x.shape)}"
                )
        queries, keys = query.shape[sequence_dim], key.shape[sequence_dim]
        if queries > keys:
            raise UserError(
                f"the queries are of the last keys, but there are {queries} queries and {keys} keys; give all keys"
            )
        state = self.prepare(self._positions(position_ids, offset, key, keys))
        if sequence_dim == 1:
            state = tuple(each.transpose(1, 2) for each in state)
        query_state = tuple(each.narrow(sequence_dim, keys - queries, queries) for each in state)
        return self.rotate(query, query_state), self.rotate_key(key, state)

    def _positions(self, position_ids: Tensor | None, offset: int, key: Tensor, keys: int) -> Tensor:
        """Returns the positions of the keys, (B or 1, L)."""
        if position_ids is None:
            return torch.arange(offset, offset + keys, device=key.device)[None]
        if offset:
            raise UserError(f"give position_ids or offset={offset}, not both")
        given = position_ids[None] if position_ids.dim() == 1 else position_ids
        if given.dim() != 2 or given.shape[0] not in (1, key.shape[0]) or given.shape[1] != keys:
            raise UserError(
                f"position_ids are those of the keys, ({keys},) or ({key.shape[0]}, {keys}), got "
                f"{tuple(position_ids.shape)}"
            )
        return given
