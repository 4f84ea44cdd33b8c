"""RoPE in an attention layer of your own: rotate queries and keys, leave the rest as it is.

python examples/rope_in_your_model.py
"""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from roformer import RotaryEmbedding


class RotarySelfAttention(nn.Module):
    """Multi-head self-attention over (B, L, hidden_size)."""

    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.rope = RotaryEmbedding(head_dim=hidden_size // num_heads)
        self.query_key_value, self.output = (
            nn.Linear(hidden_size, 3 * hidden_size),
            nn.Linear(hidden_size, hidden_size),
        )

    def forward(self, hidden_states, position_ids):
        heads = self.query_key_value(hidden_states).unflatten(-1, (3, self.num_heads, -1))  # (B, L, 3, H, D)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, H, L, D)
        query, key = self.rope(query, key, position_ids)
        return self.output(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


layer, tokens, positions = RotarySelfAttention(64, num_heads=4), torch.randn(2, 10, 64), torch.arange(10)[None]
shift = (layer(tokens, positions) - layer(tokens, positions + 1000)).abs().max().item()
print(f"moving the text by 1,000 tokens changes the output by {shift:.0e}")
