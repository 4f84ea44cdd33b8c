"""Throughput of a run while it trains, and what the terminal shows of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Meter:
    """Mean loss, tokens a second and the share of the time spent waiting for data, of the steps since the last line,
    the time of checkpoints left out."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets everything: a new line begins."""
        self._loss = torch.zeros(())
        self._steps = self._tokens = 0
        self._seconds = self._waited = 0.0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Counts time from now on, beside what has been counted."""
        self._start = time.perf_counter()

    def update(self, loss: torch.Tensor, tokens: int) -> None:
        """Adds one step; the loss stays on its device until a report is due."""
        self._loss = self._loss.to(loss.device) + loss
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
        """Returns the means since the last restart."""
        loss = self._loss.item() / self._steps  # waits for the device, so the time is read after it
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


class Display:
    """A progress bar on a terminal; elsewhere a line at each evaluation."""

    def __init__(self, name: str, *, start: int, total: int, enabled: bool) -> None:
        self.console = Console(quiet=not enabled, highlight=False)
        self.name, self.total = name, total
        self._progress = Progress(
            TextColumn(f"[bold]{name}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._bar = self._progress.add_task(name, total=total, completed=start, numbers="")

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, step: int) -> None:
        self._progress.update(self._bar, completed=step)

    def show(self, line: dict[str, float]) -> None:
        """Shows a line of ``metrics.jsonl``."""
        numbers = f"loss {line['loss']:.3f}  {line['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(self._bar, numbers=numbers)
        validation = "  ".join(f"{key} {value:.4f}" for key, value in line.items() if key.startswith("validation"))
        if validation:
            self.console.print(
                f"{self.name}  step {line['step']}/{self.total}  {numbers}  {validation}", soft_wrap=True
            )
