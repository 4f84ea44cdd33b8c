"""Attention from the tokens of a decoder to those of an encoder.

Shapes: B batch, L length in the decoder, S in the encoder, C hidden size, H heads, D head size.
"""

from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache

from roformer.attention import AttentionInputs, SequenceLayout
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.norm import build_norm
from roformer.ops.dropout import Dropout
from roformer.position import PositionEncoding


class RoFormerCrossAttention(nn.Module):
    """Followed by dropout, addition and norm. It knows no positions: those of two texts do not compare."""

    def __init__(self, config: RoFormerLabConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.num_heads, size = layer, config.num_attention_heads, config.hidden_size
        self.backend = config.build_attention(rotary_value=False)
        self.position = PositionEncoding()
        self.query = nn.Linear(size, size, bias=config.use_bias)
        self.key_value = nn.Linear(size, 2 * size, bias=config.use_bias)
        self.output = nn.Linear(size, size, bias=config.use_bias)
        self.norm = build_norm(config, size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        layout: SequenceLayout,
        *,
        past_key_values: EncoderDecoderCache | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Maps (B, L, C) to (B, L, C), reading (B, S, C), and returns the (B, H, L, S) weights where the backend has
        them; a cache keeps the encoder's keys and values."""
        query = self.query(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        if past_key_values is not None and past_key_values.is_updated.get(self.layer):
            cached = past_key_values.cross_attention_cache.layers[self.layer]
            key, value = cached.keys, cached.values
        else:
            # (B, S, 2, H, D) -> twice (B, H, S, D)
            key, value = (
                self.key_value(encoder_hidden_states)
                .unflatten(-1, (2, self.num_heads, -1))
                .permute(2, 0, 3, 1, 4)
                .unbind(0)
            )
            if past_key_values is not None:
                key, value = past_key_values.cross_attention_cache.update(key, value, self.layer)
                past_key_values.is_updated[self.layer] = True
        context, weights = self.backend(
            AttentionInputs(
                query=query, key=key, value=value, position=self.position, state=(), layout=layout, layer=self.layer,
                output_attentions=output_attentions,
            )
        )  # fmt: skip
        return self.norm(hidden_states + self.dropout(self.output(context))), weights
