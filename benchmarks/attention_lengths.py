"""Time a token that each attention backend takes, from 1,024 to 65,536 tokens: what is linear stays flat.

python -m benchmarks.attention_lengths --output docs/performance/attention.json

One attention with RoPE in a causal model, heads of 64, forward and backward; the backends take turns of a second
or one run, and the median of all runs counts. A batch has as many tokens at each length, those of the longest.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.run import positive
from benchmarks.tables import WIDTH
from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.cli.errors import one_line_errors
from roformer.io import write_json
from roformer.position import POSITION_ENCODINGS, ModelShape
from roformer.runs.provenance import provenance
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import best_device

BACKENDS = ("sdpa", "blocked", "linear", "efficient", "favor_plus")
_HEAD = 64


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention_lengths", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--lengths", type=positive, nargs="+", default=[2**power for power in range(10, 17)])
    parser.add_argument("--heads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    disable_malloc_trim()
    lengths: dict[str, dict[str, float]] = {}
    for length in arguments.lengths:
        batch = max(arguments.lengths) // length
        lengths[str(length)] = nanoseconds(batch, length, arguments.heads, arguments.rounds)
    report = {
        "schema_version": 1,
        **provenance(),
        "arguments": {"rounds": arguments.rounds, "heads": arguments.heads},
        "nanoseconds": lengths,
    }
    if arguments.output:
        write_json(arguments.output, report)
    shown = Table(*columns(report), title="Nanoseconds a token and head, forward and backward")
    for row in table_rows(report):
        shown.add_row(*row)
    Console(width=WIDTH).print(shown)


def nanoseconds(batch: int, length: int, heads: int, rounds: int) -> dict[str, float]:
    """Returns the median time a token and head of each backend, in bfloat16."""
    device = best_device()
    work = {name: step(name, batch, length, heads, device) for name in BACKENDS}
    for run in work.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            seconds[name] += turn(run, device)
    return {name: 1e9 * statistics.median(times) / (batch * length * heads) for name, times in seconds.items()}


def turn(run: Callable[[], None], device: torch.device) -> list[float]:
    """Returns the seconds of each of as many runs as begin within a second: what is quick varies more."""
    seconds: list[float] = []
    while sum(seconds) < 1:
        start = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def step(name: str, batch: int, length: int, heads: int, device: torch.device) -> Callable[[], None]:
    """Returns what attends once, forward and backward."""
    shape = ModelShape(hidden_size=heads * _HEAD, num_attention_heads=heads)
    rope = POSITION_ENCODINGS.build({"name": "rope"}, shape)
    backend = ATTENTION_BACKENDS[name](shape, dropout=0.0, rotary_value=False).to(device)
    state = rope.prepare(torch.arange(length, device=device)[None])
    layout = SequenceLayout.padded(None, causal=True)

    qkv = torch.randn(3, batch, heads, length, _HEAD, device=device, dtype=torch.bfloat16, requires_grad=True)

    def run() -> None:
        qkv.grad = None
        query, key, value = qkv.unbind(0)
        inputs = AttentionInputs(query=query, key=key, value=value, position=rope, state=state, layout=layout, layer=0)
        output, _ = backend(inputs)
        output.sum().backward()

    return run


def columns(report: dict[str, Any]) -> list[str]:
    return ["", *(f"{int(length):,} tokens" for length in report["nanoseconds"]), "most over least"]


def table_rows(report: dict[str, Any]) -> list[list[str]]:
    """Returns a row of nanoseconds a token and head for each backend, and what they grow by."""
    rows = []
    for name in BACKENDS:
        times = [by_backend[name] for by_backend in report["nanoseconds"].values()]
        rows.append([name, *(f"{value:,.0f}" for value in times), f"{max(times) / min(times):.2f}"])
    return rows


if __name__ == "__main__":
    main()
