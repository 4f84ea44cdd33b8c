"""Mean loss and throughput between two lines of ``metrics.jsonl``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ThroughputMeter:
    """Mean loss, tokens per second and the share of time spent waiting for data, over the steps since the last line;
    evaluations and checkpoints do not count."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets everything: a new line begins."""
        self._loss = torch.zeros(())
        self._steps = self._tokens = 0
        self._seconds = self._waited = 0.0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Counts time from now on, in addition to what has been counted."""
        self._start = time.perf_counter()

    def update(self, loss: torch.Tensor, tokens: int) -> None:
        """Adds one step, whose loss is on the host."""
        self._loss = self._loss + loss
        self._steps += 1
        self._tokens += tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._seconds += time.perf_counter() - self._start
        yield
        self.restart_clock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """Returns the means since the last restart; nothing where every batch was skipped."""
        if not self._steps:
            return {}
        loss = self._loss.item() / self._steps
        seconds = self._seconds + time.perf_counter() - self._start
        return {"loss": loss, "tokens_per_second": self._tokens / seconds, "data_wait": self._waited / seconds}

    def state_dict(self) -> dict[str, float]:
        return {
            "loss": self._loss.item(), "steps": self._steps, "tokens": self._tokens,
            "seconds": self._seconds, "waited": self._waited,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, float]) -> None:
        self._loss = torch.tensor(state["loss"])
        self._steps, self._tokens, self._seconds = int(state["steps"]), int(state["tokens"]), state["seconds"]
        self._waited = state["waited"]
