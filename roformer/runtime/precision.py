"""bf16 autocast or float32: chosen by measurement, because it pays on some CPUs and costs on others."""

from functools import cache, partial

import torch
from torch import nn

from roformer.runtime.timing import best_seconds

_GAIN = 1.2  # below this the lower precision is not worth it
_TOKENS, _REPEATS = 4096, 7


def resolve_precision(asked: str, *, hidden_size: int, device: torch.device) -> tuple[str, str]:
    """Returns ``bf16`` or ``fp32``, and why in a few words. ``auto`` measures once in a process and takes bf16
    where a feed-forward layer of this width, forward and backward, runs at least 1.2 times as fast with it."""
    if asked != "auto":
        return asked, "as configured"
    gain = _speed_gain(hidden_size, str(device))
    chosen = "bf16" if gain >= _GAIN else "fp32"
    return chosen, f"measured: bf16 autocast runs {gain:.1f} times as fast as float32 here"


@cache
def _speed_gain(hidden_size: int, device: str) -> float:
    """Returns seconds in float32 over seconds in bf16."""
    if device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return 0.0
    layer = nn.Sequential(nn.Linear(hidden_size, 4 * hidden_size), nn.GELU(), nn.Linear(4 * hidden_size, hidden_size))
    layer.to(device)
    inputs = torch.zeros(_TOKENS, hidden_size, device=device)

    def step(precision: str) -> None:
        with autocast(precision, torch.device(device)):
            layer(inputs).sum().backward()

    seconds = best_seconds(
        {name: partial(step, name) for name in ("fp32", "bf16")}, repeats=_REPEATS, device=torch.device(device)
    )
    return seconds["fp32"] / seconds["bf16"]


def best_device() -> torch.device:
    """Returns the accelerator of this machine, or else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Returns the context in which a model of a run with this precision computes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
