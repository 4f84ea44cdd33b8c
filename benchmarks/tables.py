"""What a case of benchmarks.run or benchmarks.gpu shows: ratios, rows and remarks."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.table import Table

from benchmarks.contestants import OURS, STOCK, WITHOUT_POSITIONS

COLUMNS = ("", "how", "tokens/s", "least - greatest", "utilization", "peak MiB", "ours is")
FEW = 3  # rounds, below which there is a warning
UNSTEADY = 1.5  # slowest over fastest round, from which on there is a warning
WIDTH = 118  # of a table that is written to a file
Case = dict[str, Any]


def ratio(case: Case, is_peer: Callable[[dict[str, Any]], bool]) -> float | None:
    """Returns how many times as fast ours is as the fastest peer; None where nobody, or not ours, was measured."""
    found = [times_as_fast(case, result) for result in case["results"] if is_peer(result)]
    return min((each for each in found if each), default=None)


def times_as_fast(case: Case, theirs: dict[str, Any]) -> float | None:
    """Returns how many times as fast ours is: the median over rounds, for both had their turn in each. None if ours
    could not run there."""
    of_ours = theirs.get("seconds_of_ours", theirs["seconds"])  # without them it is ours itself
    return statistics.median(a / b for a, b in zip(theirs["seconds"], of_ours, strict=True)) if of_ours else None


def memory_ratio(case: Case, peer: str) -> float | None:
    """Returns the peak memory of ours over the least of a peer's; None where one of both was not measured."""
    ours, theirs = (
        [each["peak_bytes"] for each in case["results"] if each["contestant"] == name] for name in (OURS, peer)
    )
    return float(min(ours) / min(theirs)) if ours and theirs else None


def table_rows(case: Case, rate: float) -> list[list[str]]:
    """Returns ``COLUMNS`` of everyone who was measured, the fastest first."""
    rows = []
    for result in sorted(case["results"], key=lambda result: times_as_fast(case, result) or math.inf):
        median, times = statistics.median(result["seconds"]), times_as_fast(case, result)
        slowest, fastest = (case["tokens"] / f(result["seconds"]) for f in (max, min))
        how = ", ".join(filter(None, (result["variant"], result["attention"])))
        rows.append([
            result["contestant"], how, f"{case['tokens'] / median:,.0f}",
            f"{slowest:,.0f} - {fastest:,.0f}", f"{case['flops'] / median / rate:.0%}",
            f"{result['peak_bytes'] / 2**20:,.0f}", f"{times:.2f}x" if times else "",
        ])  # fmt: skip
    return rows


def remarks(case: Case) -> list[str]:
    """Returns a line for everyone who could not run, or whose rounds differ much; and where rounds are too few."""
    lines = [f"skipped: {each['contestant']}, {each['variant']}: {each['why']}" for each in case["skipped"]]
    for each in case["results"]:
        spread = max(each["seconds"]) / min(each["seconds"])
        if spread > UNSTEADY:
            who = f"{each['contestant']}, {each['variant']}"
            lines.append(f"unsteady: {who}: its slowest round took {spread:.1f} times as long as its fastest")
    if any(len(each["seconds"]) < FEW for each in case["results"]):
        lines.append(f"fewer than {FEW} rounds: speed cannot be distinguished from noise")
    return lines


def rounds_of(case: Case) -> int:
    """Returns the number of rounds that everyone but ours had: ours may have had as many next to each peer."""
    return min((len(each["seconds"]) for each in case["results"]), default=0)


def title(case: Case) -> str:
    """Returns what a table is about."""
    return f"{case['name']} ({case['tokens']:,} real tokens, rounds: {rounds_of(case)})"


def table(case: Case, rate: float) -> Table:
    """Returns a case for the terminal."""
    shown = Table(*COLUMNS, title=title(case))
    for row in table_rows(case, rate):
        shown.add_row(*row)
    return shown


def ratios(cases: Sequence[Case], peers: Sequence[str]) -> Table:
    """How many times as fast ours is as everyone in the fastest of their settings, a column for each case."""
    shown = Table(
        "ours is",
        *(case["name"] for case in cases),
        title="Ratios to the fastest setting of each, medians over rounds",
    )
    for name in peers:
        found = [ratio(case, lambda result, name=name: result["contestant"] == name) for case in cases]
        shown.add_row(name, *(f"{each:.2f}x" if each else "" for each in found))
    return shown


def highlights(cases: Sequence[Case], rate: float) -> Iterator[str]:
    """Yields a line for each of: utilization of training, memory over stock RoFormer's, what RoPE costs."""
    for case in cases:
        ours = [each for each in case["results"] if each["contestant"] == OURS and each["seconds"]]
        if ours and case["work"] == "training":
            used = case["flops"] / statistics.median(ours[0]["seconds"]) / rate
            yield f"utilization, {case['name']}: {used:.0%} of the matmul rate measured in this run"
        memory = memory_ratio(case, STOCK)
        if memory is not None and case["work"] == "training":
            yield f"peak memory, {case['name']}: {memory:.2f} of stock RoFormer's"
        cost = cost_of_positions(case)
        if cost:
            low, middle, high = (f"{each:+.1%}" for each in cost)
            yield f"RoPE over none, {case['name']}: {middle} of a step (half of the rounds: {low} to {high})"


def cost_of_positions(case: Case) -> list[float] | None:
    """Returns the quartiles, over rounds, of what RoPE adds to a step without positions; None without two rounds."""
    for each in case["results"]:
        if each["contestant"] == WITHOUT_POSITIONS and len(each["seconds_of_ours"]) > 1:
            costs = [a / b - 1 for a, b in zip(each["seconds_of_ours"], each["seconds"], strict=True)]
            return statistics.quantiles(costs, n=4)
    return None
