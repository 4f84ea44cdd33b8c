"""Which layers attend within a window only: all but every n-th one.

Source: Warner et al. 2024 (ModernBERT), arXiv:2412.13663, section 2.1.2 (alternating attention).
Checked against: ModernBERT in transformers.
"""

from typing import Protocol

from roformer.attention import AttentionBackend
from roformer.errors import UserError


class WindowSettings(Protocol):
    """What a configuration says about windows."""

    local_attention: int | None
    global_attn_every_n_layers: int
    num_hidden_layers: int


def layer_window(config: WindowSettings, layer: int) -> int | None:
    """Returns how many tokens to each side a layer, counted from 0, attends to; None for all."""
    if config.local_attention is None or layer % config.global_attn_every_n_layers == 0:
        return None
    return config.local_attention // 2


def has_windows(config: WindowSettings) -> bool:
    """Whether there is a layer that does not attend to all tokens."""
    return any(layer_window(config, layer) is not None for layer in range(config.num_hidden_layers))


def check_local_attention(config: WindowSettings, backend: type[AttentionBackend]) -> None:
    """Raises ``UserError`` if the window is impossible, or the backend has none."""
    size = config.local_attention
    if size is None:
        return
    if size < 2 or size % 2:
        raise UserError(
            "RoFormerLabConfig.local_attention counts tokens, half of them to each side: it must be even and at least "
            f"2, or null for attention to all tokens, got {size}"
        )
    backend.check_window(size // 2)
