"""A position encoding of your own, outside of the package: attention that falls with the distance, per head.

python examples/add_an_encoding.py
"""

import torch

from roformer import RoFormerForMaskedLM, RoFormerLabConfig
from roformer.position import POSITION_ENCODINGS, PositionEncoding, Traits


@POSITION_ENCODINGS.register("distance")
class DistancePositionEncoding(PositionEncoding):
    """Subtracts slope x |m - n| from the scores; each head trains its slope."""

    traits = Traits(shift_invariant=True)

    def __init__(self, shape, *, slope: float) -> None:
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.full((1, shape.num_attention_heads, 1, 1), slope))

    def prepare(self, position_ids):  # once per forward pass; state is (B or 1, H or 1, L, anything)
        return (position_ids[:, None, :, None].float(),)

    def score_bias(self, query, key, state, *, layer):  # (B or 1, H, Q, L), in every layer
        (positions,) = state
        queries = positions[:, :, -query.shape[2] :]
        return -self.slopes * (queries - positions.mT).abs()


config = RoFormerLabConfig(
    hidden_size=64, num_attention_heads=4, num_hidden_layers=2, position={"name": "distance", "slope": 0.5}
)
model, tokens = RoFormerForMaskedLM(config).eval(), torch.arange(12)[None]
swapped = tokens[:, [0, 11, *range(2, 11), 1]]
change = (model(tokens).logits[:, 0] - model(swapped).logits[:, 0]).abs().max().item()
print(f"swapping two words changes the logits of a third by {change:.0e}; without an encoding it would be 0")
