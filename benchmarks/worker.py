"""One contestant in a process of its own: its allocator, its peak memory and its crash are nobody else's."""

import multiprocessing
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

from benchmarks.contestants import CONTESTANTS, OURS, WITHOUT_POSITIONS, Documents, Inputs, Sizes
from roformer.allocator import keep_freed_memory
from roformer.data.sampler import batches_by_length
from roformer.training.backend import resolve_backend
from roformer.training.precision import autocast, best_device, resolve_precision

_FORK = multiprocessing.get_context("fork")  # the imports, of several seconds, are then made once
_INFERENCE_TOKENS = 8192  # of a batch, as in our evaluation
_INFERENCE_DOCUMENTS = 16  # of a peer's batch
AS_IT_COMES = "as it comes"
_OPERATIONS = 15  # of a profile


@dataclass(frozen=True)
class Case:
    """What is measured: ``training`` steps, or ``inference`` of the encoder, over these batches of documents."""

    work: str
    batches: Sequence[Documents]
    sizes: Sizes
    precision: str


@dataclass(frozen=True)
class Variant:
    """How a contestant is run: as it comes, or better.

    Attributes:
        keep_memory: with freed memory kept in the process, as our entry points do it.
        compiled: by ``torch.compile`` with its defaults.
        by_length: inference on documents sorted by length.
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
        RuntimeError: with the error of the process, if it cannot run the case.
    """

    def __init__(self, name: str, variant: Variant, case: Case) -> None:
        self.name, self.variant = name, variant
        self._connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(theirs, name, variant, case), daemon=True)
        self._process.start()
        theirs.close()
        self.description: dict[str, Any] = self._receive()

    def repeat(self) -> float:
        """Returns the seconds of one pass over the case's batches, after a first batch that is not counted.

        While others had their turn the machine may have taken back the memory that this process had freed.
        """
        self._connection.send("again")
        return float(self._receive())

    def profile(self) -> list[tuple[str, float, int]]:
        """Returns the operations that one more pass spends the most time in: name, share of the time, calls."""
        self._connection.send("profile")
        operations: list[tuple[str, float, int]] = self._receive()
        return operations

    def close(self) -> int:
        """Ends the process; returns the bytes that its work took at the most, weights and optimiser included."""
        self._connection.send("stop")
        peak = int(self._receive())
        self._process.join()
        return peak

    def _receive(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError as error:
            raise RuntimeError(f"{self.name} died (out of memory?)") from error
        if kind == "error":
            raise RuntimeError(f"{self.name}, {self.variant}: {value}")
        return value


def measure_machine(hidden_size: int, precision: str) -> dict[str, Any]:
    """Returns, from a process of its own, the precision to compute in and the matmul rate in it, in FLOP/s."""
    with _FORK.Pool(1) as pool:
        return pool.apply(_measure_machine, (hidden_size, precision))


def _measure_machine(hidden_size: int, asked: str) -> dict[str, Any]:
    device = best_device()
    precision, why = resolve_precision(asked, hidden_size=hidden_size, device=device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    large = 2048 if device.type == "cpu" else 8192
    rates = {}
    for m, k, n in ((large, large, large), (4096, hidden_size, 4 * hidden_size)):
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
        seconds = []
        for _ in range(30):
            start = time.perf_counter()
            a @ b
            _wait(device)
            seconds.append(time.perf_counter() - start)
        rates[f"{m} x {k} x {n}"] = 2 * m * k * n / statistics.median(seconds)
    threads, name = torch.get_num_threads(), torch.cuda.get_device_name() if device.type == "cuda" else None
    return {"precision": precision, "why": why, "matmul_rates": rates, "threads": threads, "accelerator": name}


def _serve(connection: Connection, name: str, variant: Variant, case: Case) -> None:
    try:
        if variant.keep_memory:
            keep_freed_memory()
        device = best_device()
        before = _reset_peak(device)
        description, inputs, run = _prepare(name, variant, case, device)
        run(inputs)
        connection.send(("ready", description))
        while (asked := connection.recv()) != "stop":
            run(inputs[:1])
            _wait(device)
            if asked == "profile":
                connection.send(("profile", _profile(run, inputs)))
                continue
            start = time.perf_counter()
            run(inputs)
            _wait(device)
            connection.send(("seconds", time.perf_counter() - start))
        connection.send(("peak", _peak(device) - before))
    except Exception as error:  # told by the parent, which goes on with the others
        connection.send(("error", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


def _prepare(
    name: str, variant: Variant, case: Case, device: torch.device
) -> tuple[dict[str, Any], list[Inputs], Callable[[list[Inputs]], None]]:
    """Returns what is worth telling of the contestant, its batches, and a function that does the work on them."""
    contestant, ours, backend = CONTESTANTS[name], name in (OURS, WITHOUT_POSITIONS), ""
    if ours:
        backend, _ = resolve_backend(
            "auto", length=case.sizes.length, head_size=case.sizes.hidden_size // case.sizes.heads,
            dropout=case.sizes.dropout, precision=case.precision, device=device,
        )  # fmt: skip
    torch.manual_seed(0)
    model = contestant.build(case.sizes, backend).to(device)
    batches = case.batches
    if case.work == "inference":
        batches = _rebatch([document for batch in batches for document in batch], ours=ours, variant=variant)
    inputs = [_to_device(contestant.collate(batch), device) for batch in batches]
    work = _training if case.work == "training" else _inference
    description = {"parameters": sum(p.numel() for p in model.parameters()), "attention": backend or None}
    return description, inputs, work(model, case.precision, device, compiled=variant.compiled)


def _rebatch(documents: Documents, *, ours: bool, variant: Variant) -> list[Documents]:
    """Ours batches by tokens, as its evaluation does; peers take so many documents at a time."""
    if ours:
        lengths = np.array([len(tokens) for tokens, _ in documents])
        return [[documents[i] for i in batch] for batch in batches_by_length(lengths, _INFERENCE_TOKENS)]
    ordered = sorted(documents, key=lambda document: -len(document[0])) if variant.by_length else documents
    return [ordered[i : i + _INFERENCE_DOCUMENTS] for i in range(0, len(ordered), _INFERENCE_DOCUMENTS)]


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
    with torch.profiler.profile() as profiler:
        run(inputs)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [(event.key, event.self_cpu_time_total / total, event.count) for event in events[:_OPERATIONS]]


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
