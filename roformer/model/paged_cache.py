"""transformers' cache of continuous batching (``generate_batch``), which keeps keys as they were rotated.

Shapes: H heads, T tokens of a packed batch, K keys that they see, D head size.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from roformer.errors import UserError
from roformer.position import PositionEncoding
from roformer.registry import did_you_mean

# what transformers gives to every model, and this one needs none of
_WITHOUT_EFFECT = {"cache_position", "logits_indices", "logits_processor_args", "max_length_q", "seq_idx"}
_READ = {"block_table", "cu_seq_lens_k", "max_length_k", "read_index", "write_index"}  # by the cache


@dataclass(frozen=True)
class PagedCache:
    """Gives a layer's keys and values to a ``PagedAttentionCache``.

    Attributes:
        cache: transformers' cache.
        arguments: the keyword arguments of this call that the cache reads.
    """

    cache: Any
    arguments: dict[str, Any]

    @classmethod
    def of(cls, keywords: dict[str, Any], position: PositionEncoding, *, windows: bool) -> "PagedCache | None":
        """Returns the cache that is among a call's keyword arguments, None where there is none.

        Args:
            keywords: of the call.
            position: the model's encoding.
            windows: whether it has layers that attend within a window.

        Raises:
            UserError: if the encoding adds to scores or values, or turns an earlier key anew when the text grows, or
                there are windows.
            TypeError: for a keyword that transformers gives to no model, as Python does for any other function.
        """
        for name, value in keywords.items():
            if value is not None and name not in _WITHOUT_EFFECT | _READ | {"cache"}:
                hint = did_you_mean(name, ("attention_mask", "token_type_ids", "position_ids", "cu_seqlens", "labels"))
                raise TypeError(f"forward() got an unexpected keyword argument '{name}'{hint}")
        if (cache := keywords.get("cache")) is None:
            return None
        if position.adds_to_scores or position.adds_to_values or not position.traits.pointwise:
            raise UserError(
                f"generate_batch keeps keys as they were rotated, which {type(position).__name__} does not allow; use "
                "generate()"
            )
        if windows:
            raise UserError(
                "generate_batch keeps the keys of all texts in one row, where windows (local_attention) would cut "
                "across texts; use generate()"
            )
        return cls(cache, {name: value for name, value in keywords.items() if name in _READ})

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Adds (1, H, T, D) keys and values, and returns those that these tokens may see, (1, H, K, D)."""
        keys, values = self.cache.update(
            key_states=key, value_states=value, layer_idx=layer, kwargs=dict(self.arguments)
        )
        return keys, values
