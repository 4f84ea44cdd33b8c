"""Which attention backend: chosen by measurement, because it depends on processor, precision and length."""

from collections.abc import Callable
from functools import cache, partial

import torch

from roformer.attention import ATTENTION_BACKENDS
from roformer.position import ModelShape, PositionEncoding
from roformer.runtime.timing import best_seconds

_FIRST, _OTHER = "sdpa", "blocked"
_GAIN = 1.2  # below this the other is not worth leaving PyTorch's own kernels for
_TOKENS, _HEADS, _LONGEST = 2048, 4, 4096  # in a measurement; longer documents differ no more, and fill the memory


def resolve_backend(
    asked: str, *, length: int, head_size: int, dropout: float, causal: bool, precision: str, device: torch.device
) -> tuple[str, str]:
    """Returns the name of a backend, and why in a few words. ``auto`` measures once in a process and takes
    ``blocked`` where it is at least 1.2 times as fast, forward and backward, as ``sdpa`` on documents of ``length``
    tokens."""
    if asked != "auto":
        return asked, "as configured"
    gain = _speed_gain(min(length, _LONGEST), head_size, dropout, causal, precision, str(device))
    chosen = _OTHER if gain >= _GAIN else _FIRST
    return chosen, f"measured: {_OTHER} is {gain:.1f} times as fast as {_FIRST} here"


@cache
def _speed_gain(length: int, head_size: int, dropout: float, causal: bool, precision: str, device: str) -> float:
    """Returns the seconds of the first backend over those of the other."""
    model = ModelShape(hidden_size=_HEADS * head_size, num_attention_heads=_HEADS)
    shape = (max(1, _TOKENS // length), _HEADS, length, head_size)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    query, key, value = (torch.zeros(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3))

    def work(name: str) -> Callable[[], None]:
        backend = ATTENTION_BACKENDS[name](model, dropout=dropout, rotary_value=False).train()
        attend = partial(backend.attend_part, position=PositionEncoding(), mask=None, causal=causal, layer=0)
        return lambda: attend(query, key, value, (), None)[0].sum().backward()

    seconds = best_seconds(
        {name: work(name) for name in (_FIRST, _OTHER)},
        repeats=5 if length <= _TOKENS else 2,
        device=torch.device(device),
    )
    return seconds[_FIRST] / seconds[_OTHER]
