"""What the rotation of queries and keys takes, compared with transformers' ``apply_rotary_pos_emb``.

python -m benchmarks.rotation --output docs/performance/rotation.json

Queries and keys of (8, 12, 512, 64), one thread. Everyone takes turns in one process; the least CPU time of all turns
counts, divided by that of transformers' code in the same precision, as it comes or compiled. That code rotates in the
precision of the queries; ours does in float32, and rounds once.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from benchmarks.run import positive
from benchmarks.tables import WIDTH
from roformer.cli.errors import one_line_errors
from roformer.io import write_json
from roformer.position import RotaryEmbedding
from roformer.position.rope import Layout
from roformer.runs.provenance import provenance

Rotation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
STOCK = "transformers"
_WORK = ("forward", "forward + backward")


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rotation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=positive, nargs=4, default=[8, 12, 512, 64], metavar="N")
    parser.add_argument("--rounds", type=positive, default=20)
    parser.add_argument("--eager", action="store_true", help="measure nothing compiled")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, dict[str, float]] = {}
    for compiled in (False,) if arguments.eager else (False, True):
        for dtype in (torch.float32, torch.bfloat16):
            for work in _WORK:
                column = f"{str(dtype).removeprefix('torch.')}{', compiled' if compiled else ''}, {work}"
                seconds[column] = least_seconds(arguments.shape, dtype, work, compiled, arguments.rounds)
    report = {
        "schema_version": 1,
        **provenance(),
        "arguments": {"rounds": arguments.rounds, "shape": arguments.shape},
        "rotation_seconds": seconds,
    }
    if arguments.output:
        write_json(arguments.output, report)
    shown = Table(*columns(report), title="CPU time over that of transformers' code")
    for row in table_rows(report):
        shown.add_row(*row)
    Console(width=WIDTH).print(shown)


def least_seconds(shape: list[int], dtype: torch.dtype, work: str, compiled: bool, rounds: int) -> dict[str, float]:
    """Returns the CPU seconds of the fastest turn of each, after one that is not counted."""
    everyone = {name: rotation(name, shape, dtype) for name in (STOCK, "interleaved", "half")}
    if compiled:
        everyone = {name: torch.compile(rotate, fullgraph=True) for name, rotate in everyone.items()}
    query, key, gradient = torch.randn(3, *shape).to(dtype)
    for x in (query, key):
        x.requires_grad_(work == _WORK[1])
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(rounds + 1):
        for name, rotate in everyone.items():
            start = time.process_time()
            rotated = rotate(query, key)
            if work == _WORK[1]:
                torch.autograd.backward(rotated, (gradient, gradient))
            seconds[name].append(time.process_time() - start)
            query.grad = key.grad = None
    return {name: min(times[1:]) for name, times in seconds.items()}


def rotation(name: str, shape: list[int], dtype: torch.dtype) -> Rotation:
    """Returns what rotates a query and a key, with the tables made before, as once for all layers of a model."""
    layout: Layout = "interleaved" if name == "interleaved" else "half"
    rope = RotaryEmbedding(shape[-1], layout=layout)
    state = rope.prepare(torch.arange(shape[2])[None])
    if name == STOCK:
        cos, sin = (torch.cat((each[:, 0], each[:, 0]), dim=-1).to(dtype) for each in state)
        return lambda query, key: apply_rotary_pos_emb(query, key, cos, sin)
    return lambda query, key: (rope.rotate(query, state), rope.rotate(key, state))


def columns(report: dict[str, Any]) -> list[str]:
    return ["", "milliseconds, transformers", "interleaved", "half"]


def table_rows(report: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each precision and kind of work: the time of transformers' code, and ours divided by it."""
    rows = []
    for work, seconds in report["rotation_seconds"].items():
        ours = (f"{seconds[name] / seconds[STOCK]:.2f}" for name in ("interleaved", "half"))
        rows.append([work, f"{1e3 * seconds[STOCK]:.1f}", *ours])
    return rows


if __name__ == "__main__":
    main()
