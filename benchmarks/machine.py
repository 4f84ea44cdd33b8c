"""What this machine can do: its matmul rate, the choices that the library makes on it, and how its memory is read."""

import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.contestants import Sizes
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import best_device, choose_precision
from roformer.training.backend import choose_backend

_PRODUCTS, _SECONDS = 30, 3.0  # of each size at the most
_ROWS = 4096  # tokens of a layer's product on a CPU


def measure_machine(hidden_size: int, asked: str, rows: int = _ROWS, large: int | None = None) -> dict[str, Any]:
    """Returns the precision to compute in and the matmul rates in it, in FLOP/s, into memory that is there.

    Args:
        hidden_size: C, of a feed-forward layer's product (rows x C x 4 C).
        asked: precision, or ``auto``.
        rows: tokens of that product.
        large: side of a square product; by default one that fills a machine of this kind.
    """
    device = best_device()
    choice = choose_precision(asked, hidden_size=hidden_size, device=device)
    precision = choice.value
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    side = large or (2048 if device.type == "cpu" else 8192)
    rates = {
        f"{m} x {k} x {n}": matmul_rate(m, k, n, dtype, device)
        for m, k, n in ((side, side, side), (rows, hidden_size, 4 * hidden_size))
    }
    threads, name = torch.get_num_threads(), torch.cuda.get_device_name() if device.type == "cuda" else None
    return {
        "precision": precision,
        "why": choice.reason,
        "matmul_rates": rates,
        "threads": threads,
        "accelerator": name,
    }


def matmul_rate(m: int, k: int, n: int, dtype: torch.dtype, device: torch.device) -> float:
    """Returns FLOP/s of the median product of (m, k) and (k, n)."""
    a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
    product, seconds = a @ b, []
    wait(device)
    while len(seconds) < _PRODUCTS and sum(seconds) < _SECONDS:
        start = time.perf_counter()
        torch.mm(a, b, out=product)
        wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * m * k * n / statistics.median(seconds)


def measure_backend(sizes: Sizes, precision: str) -> str:
    """Returns the attention backend that ``train.py`` would choose here: one for all of ours, so that they compare."""
    disable_malloc_trim()
    choice = choose_backend(
        "auto", length=sizes.length, head_size=sizes.hidden_size // sizes.heads, dropout=sizes.dropout,
        causal=False, precision=precision, device=best_device(),
    )  # fmt: skip
    return choice.value


def wait(device: torch.device) -> None:
    """Returns when the device has done all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def reset_peak(device: torch.device) -> int:
    """Forgets the peak of memory so far; returns the bytes in use."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return psutil.Process().memory_info().rss


def peak(device: torch.device) -> int:
    """Returns the largest number of bytes in use since the last reset."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux: what is in use now
        return psutil.Process().memory_info().rss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
