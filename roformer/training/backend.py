"""The attention backend, chosen by measurement, because it depends on processor, precision and length."""

from collections.abc import Callable
from functools import cache

import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.position import ModelShape, PositionEncoding
from roformer.runtime.choice import Choice, measured_choice
from roformer.runtime.timing import best_seconds

_DEFAULT, _OTHER = "sdpa", "blocked"
_TOKENS, _HEADS, _LONGEST = 2048, 4, 4096  # in a measurement; longer documents differ no more, and fill the memory


def choose_backend(
    asked: str, *, length: int, head_size: int, dropout: float, causal: bool, precision: str, device: torch.device
) -> Choice[str]:
    """Returns the name of a backend; for ``auto`` on a CPU the faster of ``sdpa`` and ``blocked``, forward and
    backward, on documents of ``length`` tokens. Measured once per process. Elsewhere ``auto`` goes by a rule."""
    if asked == "auto" and device.type != "cpu":
        return Choice("auto", "a kernel for packed documents where the encoding and dropout allow one, else sdpa")
    question = (min(length, _LONGEST), head_size, dropout, causal, precision, str(device))
    return measured_choice(asked, _DEFAULT, _OTHER, lambda: speedup_of_blocked(*question))


@cache
def speedup_of_blocked(
    length: int, head_size: int, dropout: float, causal: bool, precision: str, device: str
) -> float:
    """Returns the seconds of ``sdpa`` over those of ``blocked``."""
    model = ModelShape(hidden_size=_HEADS * head_size, num_attention_heads=_HEADS)
    shape = (max(1, _TOKENS // length), _HEADS, length, head_size)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    query, key, value = (torch.zeros(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3))

    def work(name: str) -> Callable[[], None]:
        backend = ATTENTION_BACKENDS[name](model, dropout=dropout, rotary_value=False).train()
        inputs = AttentionInputs(
            query=query, key=key, value=value, position=PositionEncoding(), state=(),
            layout=SequenceLayout(causal=causal), layer=0,
        )  # fmt: skip
        return lambda: backend.attend(inputs)[0].sum().backward()

    seconds = best_seconds(
        {name: work(name) for name in (_DEFAULT, _OTHER)},
        repeats=5 if length <= _TOKENS else 2,
        device=torch.device(device),
    )
    return seconds[_DEFAULT] / seconds[_OTHER]
