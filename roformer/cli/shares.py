"""A sweep in several processes, each of which makes every n-th run."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from threading import Thread
from types import FrameType
from typing import TextIO

_MOST = 4  # processes that ``auto`` starts: each holds a model and its data


def processes_for(asked: int | str, runs: int | None) -> int:
    """Returns how many processes make the runs of a sweep.

    Args:
        asked: a number, or ``auto``: one per core, up to four, and one in all where there is an accelerator.
        runs: of the sweep; None if only Hydra knows.
    """
    if asked == "auto":
        import torch  # seconds, which a single run need not wait for

        asked = 1 if torch.accelerator.is_available() else min(_cores(), _MOST)
    return min(int(asked), runs or 1)


def run_in_processes(count: int) -> int:
    """Runs the command of this process ``count`` times, each for its share of the runs, and prints what they print.

    Signals are passed on, so that runs save and leave as they do alone. Each process gets its share of the cores.

    Returns:
        The exit status: the greatest of theirs, 128 plus its number after a signal.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, _cores() // count)), "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, *sys.argv, f"hydra.callbacks.progress.share={share}/{count}"],
                    env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    encoding="utf-8", errors="replace", start_new_session=True,
                )
            )
            for share in range(count)
        ]  # fmt: skip
        _pass_signals_on(workers)
        pairs = [pair for each in workers for pair in ((each.stdout, sys.stdout), (each.stderr, sys.stderr))]
        readers = [Thread(target=_copy_lines, args=pair) for pair in pairs]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    return max(128 - worker.returncode if worker.returncode < 0 else worker.returncode for worker in workers)


def is_of_share(number: int, share: str | None) -> bool:
    """Whether a process makes run ``number``, from 0, of a sweep; ``share`` is as "1/2", None for all runs."""
    if share is None:
        return True
    own, count = map(int, share.split("/"))
    return number % count == own


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pass_signals_on(workers: Sequence["subprocess.Popen[str]"]) -> None:
    def send(number: int, _: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), send)


def _copy_lines(source: TextIO, target: TextIO) -> None:
    """Whole lines only: those of several processes would mix."""
    for line in source:
        print(line, end="", file=target, flush=True)
