"""One contestant in a process of its own: its allocator, its peak memory and its crash are nobody else's."""

import contextlib
import multiprocessing
import os
import resource
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import torch

from benchmarks.machine import peak, reset_peak, wait
from benchmarks.work import Case, Task, Variant
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import best_device

_FORK = multiprocessing.get_context("fork")  # the imports, of several seconds, are then made once
_LONG = 24 * 3600.0  # seconds that nobody waits


class OutOfMemoryError(RuntimeError):
    """A case does not fit the accelerator; the process has freed what it held, and may take another one."""


class Worker:
    """Starts the process, and asks it for one turn after the other.

    Raises:
        RuntimeError: in every method, with the error of the process, if it cannot run the case, or if it has not
            answered within ``seconds``.
    """

    def __init__(self, name: str, variant: Variant, case: Case) -> None:
        self.name, self.variant = name, variant
        self.connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(theirs, name, variant, case), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self, seconds: float = _LONG) -> dict[str, Any]:
        """Returns what is worth knowing of the contestant, when it has made the model, compiled it, and run once."""
        description: dict[str, Any] = self._receive(seconds)
        return description

    def take(self, case: Case) -> None:
        """Gives it other work for the same model; the answer is ``ready``'s."""
        self._send("case", case)

    def turn(self, at_least: float, seconds: float = _LONG) -> float:
        """Returns the median seconds of a pass over the case's batches: of as many passes as begin in ``at_least``
        seconds, after a first batch that is not counted.

        While others had their turn the machine may have taken back the memory that this process had freed.
        """
        return float(self._ask("turn", at_least, seconds))

    def profile(self, operations: int, seconds: float = _LONG) -> list[tuple[str, float, int]]:
        """Returns the operations that a pass spends the most time in: name, share of the time, calls."""
        found: list[tuple[str, float, int]] = self._ask("profile", operations, seconds)
        return found

    def peak(self, seconds: float = _LONG) -> int:
        """Returns the bytes that its work took at the most, weights and optimizer included."""
        return int(self._ask("peak", None, seconds))

    def stop(self) -> None:
        """Ends the process, in whatever state it is."""
        self._process.kill()
        self._process.join()

    def _send(self, what: str, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: what it said last, or nothing, is still to be read
            self.connection.send((what, value))

    def _ask(self, what: str, value: Any, seconds: float) -> Any:
        self._send(what, value)
        return self._receive(seconds)

    def _receive(self, seconds: float) -> Any:
        try:
            if not self.connection.poll(max(0.0, seconds)):
                raise RuntimeError("not done within its share of the time")
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("its process died (out of memory?)") from error
        if kind == "memory":
            raise OutOfMemoryError(value)
        if kind == "error":
            raise RuntimeError(value)
        return value


def apart(function: Callable[..., Any], *arguments: Any, seconds: float = _LONG) -> Any:
    """Returns what a function does in a process of its own: this one must not touch an accelerator before it forks."""
    (answer,) = streamed(_once, [(function, arguments)], seconds=seconds)
    return answer


def _once(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
    yield function(*arguments)


def streamed(
    function: Callable[..., Iterator[Any]], calls: Sequence[tuple[Any, ...]], *, seconds: float
) -> Iterator[Any]:
    """Yields what a generator yields for each of these arguments, each call in a process of its own, all at once; they
    are stopped after ``seconds``.

    Raises:
        RuntimeError: with the error of a process, or if the time was too short.
    """
    end = time.monotonic() + seconds
    running: dict[Connection, BaseProcess] = {}
    for arguments in calls:
        ours, theirs = _FORK.Pipe()
        running[ours] = _FORK.Process(target=_stream, args=(theirs, function, arguments), daemon=True)
        running[ours].start()
        theirs.close()
    started = list(running.values())
    try:
        while running:
            answered = wait_for(list(running), timeout=max(0.0, end - time.monotonic()))
            if not answered:
                raise RuntimeError("not done within its share of the time")
            for connection in answered:
                kind, value = connection.recv()
                if kind == "error":
                    raise RuntimeError(value)
                if kind == "end":
                    del running[connection]
                else:
                    yield value
    except (EOFError, ConnectionError) as error:
        raise RuntimeError("its process died (out of memory?)") from error
    finally:
        for process in started:
            process.kill()
            process.join()


def _stream(connection: Connection, function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    with _errors_sent(connection):
        for value in function(*arguments):
            connection.send(("value", value))
        connection.send(("end", None))


@contextlib.contextmanager
def _errors_sent(connection: Connection) -> Iterator[None]:
    """For the parent, which reports an error in one line, and continues with the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, and ends this process
    try:
        yield
    except Exception as error:
        connection.send(("error", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


def _serve(connection: Connection, name: str, variant: Variant, case: Case) -> None:
    parent = os.getppid()
    with _errors_sent(connection):
        if variant.keep_memory:
            disable_malloc_trim()
        device = best_device()
        if device.type == "cpu":  # an error of this process, before the system kills any other
            free = psutil.virtual_memory().available
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            limit = free if hard == resource.RLIM_INFINITY else min(free, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        before = reset_peak(device)
        task = Task(name, variant, case, device)
        task.run(task.inputs)
        wait(device)
        connection.send(("ready", task.description))
        while True:
            while not connection.poll(timeout=1):
                if os.getppid() != parent:  # it was killed, and others still hold its end of the connection
                    return
            asked, value = connection.recv()
            if asked == "case":
                connection.send(_answer_to_case(task, value))
            elif asked == "peak":
                connection.send(("peak", peak(device) - before))
            elif asked == "profile":
                connection.send(("profile", task.profile(value)))
            else:
                connection.send(("seconds", _turn(task, value)))
            if device.type == "cuda":
                torch.cuda.empty_cache()  # the others' turns need the memory


def _answer_to_case(task: Task, case: Case) -> tuple[str, Any]:
    try:
        task.take(case)
        reset_peak(task.device)
        task.run(task.inputs)
        wait(task.device)
    except torch.OutOfMemoryError as error:
        task.rest()
        return "memory", str(error).splitlines()[0]
    return "ready", task.description


def _turn(task: Task, at_least: float) -> float:
    task.run(task.inputs[:1])
    wait(task.device)
    seconds: list[float] = []
    while not seconds or sum(seconds) < at_least:
        start = time.perf_counter()
        task.run(task.inputs)
        wait(task.device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
