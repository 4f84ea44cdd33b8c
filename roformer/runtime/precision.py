"""bf16 autocast or float32, chosen by measurement, because bf16 pays on some CPUs and costs on others."""

from functools import cache, partial

import torch
from torch import nn

from roformer.runtime.choice import Choice, measured_choice
from roformer.runtime.timing import best_seconds

_TOKENS, _REPEATS = 4096, 7


def choose_precision(asked: str, *, hidden_size: int, device: torch.device) -> Choice[str]:
    """Returns ``bf16`` or ``fp32``; for ``auto`` the one in which a feed-forward layer of this width runs faster,
    forward and backward. Measured once per process."""
    return measured_choice(asked, "fp32", "bf16", lambda: speedup_of_bf16(hidden_size, str(device)))


@cache
def speedup_of_bf16(hidden_size: int, device: str) -> float:
    """Returns the seconds in float32 over those in bf16."""
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


def allow_tf32(precision: str, device: torch.device) -> None:
    """Lets an accelerator multiply the float32 matrices of a run in bf16 with TF32's 10 bits, still more than bf16's
    7; does nothing for other runs, and on a CPU."""
    if precision == "bf16" and device.type != "cpu":
        torch.set_float32_matmul_precision("high")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Returns the context in which a model of a run with this precision computes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
