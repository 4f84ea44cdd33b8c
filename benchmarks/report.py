"""Writes the tables and the figure of docs/performance.md from the JSON files beside it.

python -m benchmarks.report          # after python -m benchmarks.run --output docs/performance/<name>.json

The page keeps its words; what stands between `<!-- table: <name> -->` and `<!-- end -->` is made from <name>.json.
"""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt

from benchmarks import end_to_end
from benchmarks.contestants import OURS, PEERS, STOCK
from benchmarks.run import COLUMNS, table_rows
from benchmarks.worker import AS_IT_COMES

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FOLDER = DOCS / "performance.md", DOCS / "performance"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    figure(load("lengths"), FOLDER / "lengths.svg")


def page(text: str) -> str:
    """Returns the page with every table made anew."""

    def made(match: re.Match[str]) -> str:
        if match[2] == "summary":
            return f"{match[1]}\n{summary_table()}\n\n{match[3]}"
        report = load(match[2])
        return f"{match[1]}\n{origin(report)}\n\n{table_of(report)(report)}\n\n{match[3]}"

    return _BLOCK.sub(made, text)


def table_of(report: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """Returns what makes a table of such a report."""
    if "cases" in report:
        return profiles_table if report["arguments"].get("profile") else cases_table
    return runs_table if "runs" in report else preparation_table


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def origin(report: dict[str, Any]) -> str:
    """The command, the machine, the versions."""
    hardware, versions = report["hardware"], report["versions"]
    machine = report.get("machine")
    parts = [
        f"`{report['command']}`",
        f"{hardware['gpu'] or hardware['cpu']}, {hardware['cores']} cores",
        *(
            [f"{machine['precision']}, matmul rate {max(machine['matmul_rates'].values()) / 1e9:,.0f} GFLOP/s"]
            if machine
            else []
        ),
        f"torch {versions['torch']}, transformers {versions['transformers']}",
        f"commit {report['git_commit'][:7]}, {report['created'][:10]}",
    ]
    return "; ".join(parts) + "."


def cases_table(report: dict[str, Any]) -> str:
    """One table a case, the fastest first."""
    rate = max(report["machine"]["matmul_rates"].values())
    return "\n\n".join(
        f"**{case['name']}**, {case['tokens']:,} real tokens\n\n" + markdown(list(COLUMNS), table_rows(case, rate))
        for case in report["cases"]
    )


def summary_table() -> str:
    """What was aimed at, against peers as they come and in the best setting that was found for them.

    Peers as they come are those of lengths.json where it has the case: in fixed.json so many processes hold memory at
    once that the page faults of these peers cost more than they do alone.
    """
    real, short, long = "real lengths up to 512", "512 tokens each", "2,048 tokens each"
    rows = [
        [
            "training, 512 tokens, over stock RoFormer",
            "3x",
            *_ratios("lengths", "fixed", f"training, {short}", [STOCK]),
        ],
        [
            "training, 2,048 tokens, over stock RoFormer",
            "4x",
            *_ratios("lengths", "fixed", f"training, {long}", [STOCK]),
        ],
        ["training, real lengths, over stock RoFormer", "5x", *_ratios("real", "real", f"training, {real}", [STOCK])],
        [
            "training, 512 tokens, over the fastest peer",
            "1.5x",
            *_ratios("lengths", "fixed", f"training, {short}", PEERS),
        ],
        [
            "inference, real lengths, over the fastest peer",
            "2x",
            *_ratios("real", "real", f"inference, {real}", PEERS),
        ],
    ]
    return markdown(["work", "target", "peer as it comes", "peer in its best setting"], rows)


def _ratios(plain: str, every: str, case_name: str, peers: list[str]) -> list[str]:
    """How many times as fast as the fastest of these ours is: as they come, and in whatever setting."""
    ratios = []
    for name, only in ((plain, AS_IT_COMES), (every, "")):
        case = next(case for case in load(name)["cases"] if case["name"] == case_name)
        seconds = [(r["contestant"], r["variant"], statistics.median(r["seconds"])) for r in case["results"]]
        ours = next(value for contestant, _, value in seconds if contestant == OURS)
        best = min(value for contestant, variant, value in seconds if contestant in peers and variant.startswith(only))
        ratios.append(f"{best / ours:.2f}x")
    return ratios


def profiles_table(report: dict[str, Any]) -> str:
    """Where the time of ours goes, a table a case."""
    return "\n\n".join(
        f"**{case['name']}**\n\n"
        + markdown(
            ["operation", "share of the time", "calls"],
            [
                [f"`{name}`", f"{share:.1%}", f"{calls:,}"]
                for result in case["results"]
                for name, share, calls in result.get("profile", [])
            ],
        )
        for case in report["cases"]
    )


def runs_table(report: dict[str, Any]) -> str:
    """End to end: seconds, and real tokens a second of the whole run."""
    return markdown(list(end_to_end.COLUMNS), end_to_end.table_rows(report["runs"]))


def preparation_table(report: dict[str, Any]) -> str:
    """Text a second, and the most memory."""
    return markdown(
        ["", "MB of text", "seconds", "MB/s", "peak MiB"],
        [
            [
                result["contestant"], f"{result['megabytes']:,}", f"{result['seconds']:.1f}",
                f"{result['megabytes'] / result['seconds']:.1f}", f"{result['peak_bytes'] / 2**20:,.0f}",
            ]
            for result in report["results"]
        ],
    )  # fmt: skip


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first columns are words and whose others are numbers."""
    numeric = [all(row[column][:1].isdigit() for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(report: dict[str, Any], file: Path) -> None:
    """Tokens a second over the length, a line a contestant (its fastest variant), training and inference."""
    works = [work for work in ("training", "inference") if any(case["work"] == work for case in report["cases"])]
    plt.rcParams["svg.hashsalt"] = "roformer"  # the same figures give the same file
    canvas, axes = plt.subplots(1, len(works), figsize=(5.2 * len(works), 4), squeeze=False)
    for axis, work in zip(axes[0], works, strict=True):
        lines: dict[str, dict[int, float]] = {}
        for case in (case for case in report["cases"] if case["work"] == work and case["length"]):
            for result in case["results"]:
                points = lines.setdefault(result["contestant"], {})
                rate = case["tokens"] / statistics.median(result["seconds"])
                points[case["length"]] = max(rate, points.get(case["length"], 0.0))
        for name, points in lines.items():
            axis.plot(
                *zip(*sorted(points.items()), strict=True), marker="o", label=name, lw=2.5 if name == OURS else 1
            )
        axis.set(title=work, xlabel="length (tokens)", ylabel="tokens/s", xscale="log", yscale="log")
        ticks = sorted({length for points in lines.values() for length in points})
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.xaxis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    canvas.tight_layout()
    canvas.savefig(file, metadata={"Date": None})
    plt.close(canvas)


if __name__ == "__main__":
    main()
