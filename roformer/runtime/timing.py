"""How choices are made by measurement."""

import time
from collections.abc import Callable, Mapping

import torch


def best_seconds(work: Mapping[str, Callable[[], object]], *, repeats: int, device: torch.device) -> dict[str, float]:
    """Returns the seconds of the fastest of so many runs of each; they take turns, for others may use the cores."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if device.type != "cpu":
                torch.accelerator.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}
