"""Relative sinusoids with two global biases, as in Transformer-XL.

Source: Dai et al. 2019, arXiv:1901.02860, section 3.3; RoFormer paper, eq. 6 and 7.
Checked against: the formula token by token.
"""

import torch
from torch import Tensor, nn

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._frequencies import angles_at, frequencies
from roformer.position._relative import gather_bias, positions_state, relative_positions, unique_offsets


@POSITION_ENCODINGS.register("transformer_xl")
class TransformerXLPositionEncoding(PositionEncoding):
    """Adds u k_n + (q_m + v) W r_{m-n} to q_m k_n: r the sinusoids of a distance, W a matrix and u, v vectors of each
    layer (the paper shares u and v between layers).

    Args:
        shape: sizes of the model.
        base: wavelengths run from 2 pi to 2 pi base tokens.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, base: float = 10000.0) -> None:
        super().__init__()
        self.base, self.size, self.heads = base, shape.hidden_size, shape.num_attention_heads
        layers = shape.num_hidden_layers
        self.project = nn.ModuleList(nn.Linear(self.size, self.size, bias=False) for _ in range(layers))
        self.content_bias = nn.Parameter(torch.zeros(layers, self.heads, 1, shape.head_size))
        self.position_bias = nn.Parameter(torch.zeros(layers, self.heads, 1, shape.head_size))

    def prepare(self, position_ids: Tensor) -> PositionState:
        return positions_state(position_ids)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        """Raises ``UserError`` for fractional positions."""
        values, index = unique_offsets(relative_positions(state, query, self.counted), "transformer_xl", self.counted)
        angles = angles_at(values[:, None], frequencies(self.size, self.base, values.device))
        waves = torch.cat((angles.sin(), angles.cos()), dim=-1)
        keys = self.project[layer](waves.to(self.content_bias.dtype)).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        content = self.content_bias[layer].to(key.dtype) @ key.mT
        by_distance = (query + self.position_bias[layer].to(query.dtype)) @ keys.to(query.dtype).mT
        return (content + gather_bias(by_distance, index)) * self.softmax_scale(query.shape[-1])
