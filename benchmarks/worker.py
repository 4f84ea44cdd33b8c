"""One contestant in a process of its own: its allocator, its peak memory and its crash are nobody else's."""

import contextlib
import multiprocessing
import os
import resource
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.contestants import CONTESTANTS, ENCODINGS, PEERS, Documents, Inputs, Sizes
from roformer.data.sampler import batches_by_length
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import autocast, best_device, choose_precision
from roformer.training.backend import choose_backend

_FORK = multiprocessing.get_context("fork")  # the imports, of several seconds, are then made once
_INFERENCE_TOKENS = 8192  # of a batch, as in our evaluation
AS_IT_COMES = "as it comes"
_OPERATIONS = 15  # of a profile
_WARM_UP, _PROFILED = 5, 3  # passes under the profiler, whose own memory is new in the first ones


@dataclass(frozen=True)
class Case:
    """What is measured: ``training`` steps, or ``inference`` of the encoder, over these batches of documents.

    Attributes:
        length: of every document, in tokens; None where they have their real lengths.
        backend: of attention, for ours.
    """

    work: str
    batches: Sequence[Documents]
    sizes: Sizes
    length: int | None
    precision: str
    backend: str


@dataclass(frozen=True)
class Variant:
    """How a contestant is run: as it comes, or better.

    Attributes:
        keep_memory: with freed memory kept in the process, as our entry points do it.
        compiled: by ``torch.compile`` with its defaults.
        by_length: on documents sorted by length; in inference in the same batches as ours.
    """

    keep_memory: bool = False
    compiled: bool = False
    by_length: bool = False

    def __str__(self) -> str:
        words = {"keep_memory": "memory kept", "compiled": "compiled", "by_length": "sorted by length"}
        return ", ".join(text for key, text in words.items() if getattr(self, key)) or AS_IT_COMES


class Worker:
    """Starts the process and asks it for one repetition after the other.

    Raises:
        RuntimeError: here and in every method, with the error of the process, if it cannot run the case.
    """

    def __init__(self, name: str, variant: Variant, case: Case) -> None:
        self.name = name
        self._connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(theirs, name, variant, case), daemon=True)
        self._process.start()
        theirs.close()
        self.description: dict[str, Any] = self._receive()

    def repeat(self) -> float:
        """Returns the seconds of one pass over the case's batches, after a first batch that is not counted.

        While others had their turn the machine may have taken back the memory that this process had freed.
        """
        return float(self._ask("again"))

    def profile(self) -> list[tuple[str, float, int]]:
        """Returns the operations that a pass spends the most time in: name, share of the time, calls."""
        operations: list[tuple[str, float, int]] = self._ask("profile")
        return operations

    def peak(self) -> int:
        """Returns the bytes that its work took at the most, weights and optimizer included."""
        return int(self._ask("peak"))

    def stop(self) -> None:
        """Ends the process, in whatever state it is."""
        self._process.kill()
        self._process.join()

    def _ask(self, what: str) -> Any:
        with contextlib.suppress(BrokenPipeError):  # it has died: what it said last, or nothing, is still to be read
            self._connection.send(what)
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("its process died (out of memory?)") from error
        if kind == "error":
            raise RuntimeError(value)
        return value


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function does in a process of its own: this one must not touch an accelerator before it forks."""
    pool = _FORK.Pool(1)
    try:
        return pool.apply(function, arguments)
    finally:
        pool.close()  # its process ends by itself: a handler that it got from this one may swallow SIGTERM
        pool.join()


def measure_machine(hidden_size: int, asked: str) -> dict[str, Any]:
    """Returns the precision to compute in and the matmul rates in it, in FLOP/s, into memory that is there."""
    device = best_device()
    choice = choose_precision(asked, hidden_size=hidden_size, device=device)
    precision = choice.value
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    large = 2048 if device.type == "cpu" else 8192
    rates = {}
    for m, k, n in ((large, large, large), (4096, hidden_size, 4 * hidden_size)):
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
        product, seconds = a @ b, []
        for _ in range(30):
            start = time.perf_counter()
            torch.mm(a, b, out=product)
            _wait(device)
            seconds.append(time.perf_counter() - start)
        rates[f"{m} x {k} x {n}"] = 2 * m * k * n / statistics.median(seconds)
    threads, name = torch.get_num_threads(), torch.cuda.get_device_name() if device.type == "cuda" else None
    return {
        "precision": precision,
        "why": choice.reason,
        "matmul_rates": rates,
        "threads": threads,
        "accelerator": name,
    }


def measure_backend(sizes: Sizes, precision: str) -> str:
    """Returns the attention backend that ``train.py`` would choose here: one for all of ours, so that they compare."""
    disable_malloc_trim()
    choice = choose_backend(
        "auto", length=sizes.length, head_size=sizes.hidden_size // sizes.heads, dropout=sizes.dropout,
        causal=False, precision=precision, device=best_device(),
    )  # fmt: skip
    return choice.value


def _serve(connection: Connection, name: str, variant: Variant, case: Case) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, and ends this process
    parent = os.getppid()
    try:
        if variant.keep_memory:
            disable_malloc_trim()
        device = best_device()
        if device.type == "cpu":  # an error of this process, before the system kills any other
            free = psutil.virtual_memory().available
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            limit = free if hard == resource.RLIM_INFINITY else min(free, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        before = _reset_peak(device)
        description, inputs, run = _prepare(name, variant, case, device)
        run(inputs)
        connection.send(("ready", description))
        while True:
            while not connection.poll(timeout=1):
                if os.getppid() != parent:  # it was killed, and others still hold its end of the connection
                    return
            asked = connection.recv()
            if asked == "peak":
                connection.send(("peak", _peak(device) - before))
                continue
            run(inputs[:1])
            _wait(device)
            if asked == "profile":
                connection.send(("profile", _profile(run, inputs)))
                continue
            start = time.perf_counter()
            run(inputs)
            _wait(device)
            seconds = time.perf_counter() - start
            if device.type == "cuda":
                torch.cuda.empty_cache()  # the others' turns need the memory
            connection.send(("seconds", seconds))
    except Exception as error:  # reported by the parent, which continues with the others
        connection.send(("error", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


def _prepare(
    name: str, variant: Variant, case: Case, device: torch.device
) -> tuple[dict[str, Any], list[Inputs], Callable[[list[Inputs]], None]]:
    """Returns what is worth telling of the contestant, its batches, and a function that does the work on them."""
    contestant, ours = {**CONTESTANTS, **ENCODINGS}[name], name not in PEERS
    torch.manual_seed(0)
    model = contestant.build(case.sizes, case.backend).to(device)
    batches = _rebatch(case, ours=ours, by_length=variant.by_length)
    inputs = [_to_device(contestant.collate(batch), device) for batch in batches]
    work = _training if case.work == "training" else _inference
    description = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "attention": case.backend if ours else None,
    }
    return description, inputs, work(model, case.precision, device, compiled=variant.compiled)


def _rebatch(case: Case, *, ours: bool, by_length: bool) -> Sequence[Documents]:
    """Returns the batches of documents that a contestant takes; in inference ours sorts those of many lengths, as its
    evaluation does."""
    if case.length or (not by_length and not (ours and case.work == "inference")):
        return case.batches
    documents = [document for batch in case.batches for document in batch]
    lengths = np.array([len(tokens) for tokens, _ in documents])
    if case.work == "inference":
        return [[documents[i] for i in batch] for batch in batches_by_length(lengths, _INFERENCE_TOKENS)]
    order = iter(np.argsort(-lengths, kind="stable").tolist())
    return [[documents[next(order)] for _ in batch] for batch in case.batches]


def _training(
    model: torch.nn.Module, precision: str, device: torch.device, *, compiled: bool
) -> Callable[[list[Inputs]], None]:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    forward = torch.compile(model.train()) if compiled else model.train()

    def run(batches: list[Inputs]) -> None:
        for batch in batches:
            with autocast(precision, device):
                loss = forward(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def _inference(
    model: torch.nn.Module, precision: str, device: torch.device, *, compiled: bool
) -> Callable[[list[Inputs]], None]:
    encoder = model.eval().base_model
    forward = torch.compile(encoder) if compiled else encoder

    def run(batches: list[Inputs]) -> None:
        with torch.inference_mode(), autocast(precision, device):
            for batch in batches:
                forward(**{key: value for key, value in batch.items() if key != "labels"})

    return run


def _profile(run: Callable[[list[Inputs]], None], inputs: list[Inputs]) -> list[tuple[str, float, int]]:
    schedule = torch.profiler.schedule(wait=0, warmup=_WARM_UP, active=_PROFILED, repeat=1)
    with torch.profiler.profile(schedule=schedule, acc_events=True) as profiler:
        for _ in range(_WARM_UP + _PROFILED):
            run(inputs)
            profiler.step()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [(e.key, e.self_cpu_time_total / total, e.count // _PROFILED) for e in events[:_OPERATIONS]]


def _to_device(inputs: Inputs, device: torch.device) -> Inputs:
    return {key: value.to(device) if torch.is_tensor(value) else value for key, value in inputs.items()}


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _reset_peak(device: torch.device) -> int:
    """Forgets the peak of memory so far; returns what is in use."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return psutil.Process().memory_info().rss


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux: what is in use now
        return psutil.Process().memory_info().rss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
