"""A day on a GPU in nine minutes: correctness, speed next to peers, utilization, and where the time goes.

python -m benchmarks.gpu                            # on a machine with an accelerator
python -m benchmarks.gpu --toy                      # the same at toy size, on any machine, in half a minute
python -m benchmarks.report outputs/bench/gpu.json  # its tables again, as Markdown

The items run in the order of their value; each has its share of the time that is left. The output is written after
every finding, so that a run that is killed loses nothing. An item that fails is recorded in one line, and the run
continues. Peers have random weights; nothing is downloaded.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_items import FULL, ITEMS, TOY, Finding, Plan
from benchmarks.report import block
from benchmarks.run import SCHEMA_VERSION, origin, positive
from benchmarks.worker import apart
from roformer.cli.errors import one_line_errors
from roformer.errors import UserError
from roformer.io import write_json
from roformer.runtime.precision import best_device

BUDGET = 540  # seconds of a run
LEAST = 5.0  # seconds, below which no item is begun


@one_line_errors
def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=positive, default=BUDGET, help="seconds of the whole run")
    parser.add_argument("--toy", action="store_true", help="small models, few of everything, on any device")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench/gpu.json"), help="a JSON file")
    arguments = parser.parse_args(sys.argv[1:])
    if not arguments.toy and apart(best_device).type == "cpu":
        raise UserError("there is no accelerator here; python -m benchmarks.gpu --toy tries it on a CPU")
    report = {
        "schema_version": SCHEMA_VERSION,
        **origin(),
        "arguments": {"budget": arguments.budget, "toy": arguments.toy},
        "machine": {},
        "items": {},
        "parity": {},
        "cases": [],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for finding in run(TOY if arguments.toy else FULL, begun + arguments.budget, report):
        print(finding, flush=True)
        write_json(arguments.output, report)
    print(f"\n{block(report)}" if report["machine"] else "nothing was measured")


def run(plan: Plan, end: float, report: dict[str, Any]) -> Iterator[str]:
    """Runs all items until ``end``, a time of the monotonic clock, and fills the report; yields a line for each
    finding."""
    for number, (name, item) in enumerate(ITEMS.items()):
        start = time.monotonic()
        left = end - start
        share = left * item.weight / sum(other.weight for other in list(ITEMS.values())[number:])
        outcome = "done"
        if left < LEAST:
            outcome = "no time left"
        else:
            try:
                for finding in item.work(plan, report, start + share):
                    add(report, finding)
                    yield f"{name}: {finding.line}"
            except Exception as error:  # what is not measured must not end the rest
                outcome = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        report["items"][name] = {"outcome": outcome, "seconds": round(time.monotonic() - start, 1)}
        yield f"{name}: {outcome}"


def add(report: dict[str, Any], finding: Finding) -> None:
    """Puts a finding in its place in the report."""
    place = report[finding.place]
    if isinstance(place, list):
        place.append(finding.value)
    else:
        place.update(finding.value)


if __name__ == "__main__":
    main()
