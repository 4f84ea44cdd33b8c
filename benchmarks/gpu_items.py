"""The items of benchmarks.gpu, each a generator of findings that ends at its time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from benchmarks.contestants import BERT, LINEAR, MODERNBERT, OURS, STOCK, WITHOUT_POSITIONS, Sizes
from benchmarks.machine import measure_backend, measure_machine
from benchmarks.rounds import Contestants, Field, Pace
from benchmarks.run import LONG, drawn
from benchmarks.tables import rounds_of
from benchmarks.work import Case, Variant
from benchmarks.worker import apart, streamed
from roformer.runtime.precision import best_device
from tests.accelerator import combinations, compare

OPERATIONS = 20  # of the profile
_STARTING = 4  # contestants at a time: each compiles on some cores, and takes its part of the memory


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        base, small: sizes of models.
        lengths: of sequences, in tokens, the most valuable first.
        tokens: of a batch, at every length.
        settings: how each contestant runs; that of ours which is compared is the first.
        parity: how many combinations of encoding, backend and kind of model; None for all.
        processes: that compare them.
        square: side of a square matrix product; None for one that fills the machine.
        pace: of a case, whose seconds its item sets where rounds are not counted.
    """

    base: Sizes
    small: Sizes
    lengths: Sequence[int]
    tokens: int
    settings: Sequence[Variant]
    parity: int | None
    processes: int
    square: int | None
    pace: Pace


FULL = Plan(
    base=Sizes(768, 12, 12, 30_000, 8192, 0.0),
    small=Sizes(512, 6, 8, 30_000, 8192, 0.0),
    lengths=(512, 4096, 2048, 8192),
    tokens=16_384,
    settings=(Variant(keep_memory=True, compiled=True, any_length=True), Variant(keep_memory=True)),
    parity=None,
    processes=4,
    square=None,
    pace=Pace(LONG, start=0.9, turn=0.3, starting=_STARTING),
)
TOY = Plan(
    base=Sizes(32, 2, 2, 60, 16, 0.0),
    small=Sizes(16, 1, 2, 60, 16, 0.0),
    lengths=(8, 16),
    tokens=32,
    settings=(Variant(keep_memory=True),),
    parity=3,
    processes=1,
    square=64,
    pace=Pace(LONG, turn=0.0, rounds=1, starting=_STARTING),
)


@dataclass(frozen=True)
class Finding:
    """What goes to a ``place`` of the report, and a ``line`` for whoever waits."""

    place: str
    value: Any
    line: str


@dataclass(frozen=True)
class Item:
    """A part of the day.

    Attributes:
        weight: its share of the time that is left.
        work: yields findings until a time of the monotonic clock.
    """

    weight: float
    work: Callable[[Plan, dict[str, Any], float], Iterator[Finding]]


def machine(plan: Plan, report: dict[str, Any], end: float) -> Iterator[Finding]:
    """The matmul rates of a large square and of a feed-forward layer of the base size."""
    seconds = end - time.monotonic()
    measured = apart(
        measure_machine, plan.base.hidden_size, "fp32" if plan.square else "bf16", plan.tokens, plan.square,
        seconds=seconds,
    )  # fmt: skip
    rates = ", ".join(f"{name}: {rate / 1e12:,.1f} TFLOP/s" for name, rate in measured["matmul_rates"].items())
    yield Finding("machine", measured, rates)


def parity(plan: Plan, report: dict[str, Any], end: float) -> Iterator[Finding]:
    """Every encoding with every backend, loss and gradients, compared with the CPU."""
    chosen = list(islice(combinations(), plan.parity))
    calls = [(chosen[first :: plan.processes],) for first in range(plan.processes)]
    for name, layout, found in streamed(_compared, calls, seconds=end - time.monotonic()):
        line = f"{name}, {layout}: {found or 'as on the CPU'}"
        yield Finding("parity", {f"{name}, {layout}": found}, line)


def _compared(chosen: Sequence[Any]) -> Iterator[tuple[str, str, Any]]:
    device = best_device()
    for position, attention, model_class in chosen:
        name = f"{position}, {attention}, {model_class.__name__}"
        try:
            for layout, found in compare(position, attention, model_class, device).items():
                yield name, layout, found
        except Exception as error:  # a kernel that this device has not is a finding, too
            yield name, "not computed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def speed(size: str) -> Callable[[Plan, dict[str, Any], float], Iterator[Finding]]:
    """Returns what measures training and inference at all lengths, next to peers, in one size."""

    def work(plan: Plan, report: dict[str, Any], end: float) -> Iterator[Finding]:
        together = list(product((OURS, STOCK, MODERNBERT, BERT), plan.settings))
        kinds = list(product(plan.lengths, ("training", "inference")))
        yield from _cases(plan, report, end, size, together, kinds)

    return work


def positions(plan: Plan, report: dict[str, Any], end: float) -> Iterator[Finding]:
    """What RoPE costs of a step, and the operations that take the most time."""
    together = [(OURS, plan.settings[0]), (WITHOUT_POSITIONS, plan.settings[0])]
    yield from _cases(plan, report, end, "base", together, [(plan.lengths[0], "training")], OPERATIONS)


def linear(plan: Plan, report: dict[str, Any], end: float) -> Iterator[Finding]:
    """FAVOR+ and eq. 19 next to softmax attention, from the longest sequences to the shortest."""
    together = [(OURS, plan.settings[0]), *((name, plan.settings[0]) for name in LINEAR)]
    kinds = [(length, "training") for length in sorted(plan.lengths, reverse=True)]
    yield from _cases(plan, report, end, "small", together, kinds)


ITEMS = {
    "matmul": Item(1, machine),
    "parity": Item(5, parity),
    "base": Item(16, speed("base")),
    "positions": Item(3, positions),
    "small": Item(8, speed("small")),
    "linear": Item(4, linear),
}


def _cases(
    plan: Plan, report: dict[str, Any], end: float, size: str, together: Contestants, kinds: Sequence[tuple[int, str]],
    profiled: int = 0,
) -> Iterator[Finding]:  # fmt: skip
    """Measures cases with the same processes, in which what is compiled stays so."""
    precision = report["machine"].get("precision", "bf16")
    cases = [_case(plan, getattr(plan, size), work, length, precision) for length, work in kinds]
    left = end - time.monotonic()
    field = Field(together, cases[0], replace(plan.pace, seconds=left / 2))
    try:
        for number, case in enumerate(cases):
            left = end - time.monotonic()
            if number:  # the second case compiles inference; the others find everything compiled
                field.take(case, left / 2 if number == 1 else 0.6 * left / (len(cases) - number))
            share = (end - time.monotonic()) / (len(cases) - number) / (2 if number else 3)
            seconds = plan.pace.seconds if plan.pace.rounds else share
            name = f"{case.work}, {case.length:,} tokens each, {size} size"
            measured = field.measure(case, replace(plan.pace, seconds=seconds), profiled)
            found = {"name": name, **case.summary(), **measured}
            yield Finding("cases", found, f"{name}: {len(found['results'])} contestants, {rounds_of(found)} rounds")
            if not field.workers:
                raise RuntimeError("nobody is left: see what was skipped")
    finally:
        field.stop()


def _case(plan: Plan, sizes: Sizes, work: str, length: int, precision: str) -> Case:
    backend = apart(measure_backend, replace(sizes, length=length), precision)
    return Case(work, [drawn(sizes.vocabulary, length, plan.tokens)], sizes, length, precision, backend)
