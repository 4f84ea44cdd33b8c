"""Writes the tables and the figure of docs/performance.md from the JSON files beside it.

python -m benchmarks.report          # after python -m benchmarks.run --output docs/performance/<name>.json

The page keeps its words; what stands between `<!-- table: <name> -->` and `<!-- end -->` is made from <name>.json.
"""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks import end_to_end, preparation
from benchmarks.contestants import OURS, PEERS, STOCK, WITHOUT_POSITIONS
from benchmarks.run import COLUMNS, left_out, ratio, table_rows
from benchmarks.worker import AS_IT_COMES

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FOLDER = DOCS / "performance.md", DOCS / "performance"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    lengths_figure(load("lengths"), FOLDER / "lengths.svg")
    loss_figure(load("loss_curve"), FOLDER / "loss_curve.svg")


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
    kinds = {"runs": runs_table, "results": preparation_table, "curves": curves_table}
    return next(made for key, made in kinds.items() if key in report)


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
        f"commit {report['git_commit']}, {report['created'][:10]}",
    ]
    return "; ".join(parts) + "."


def cases_table(report: dict[str, Any]) -> str:
    """One table a case, the fastest first, and who could not run."""
    rate = max(report["machine"]["matmul_rates"].values())
    return "\n\n".join(
        "\n\n".join([
            f"**{case['name']}**, {case['tokens']:,} real tokens",
            markdown(list(COLUMNS), table_rows(case, rate)),
            *left_out(case),
        ])
        for case in report["cases"]
    )  # fmt: skip


def summary_table() -> str:
    """What was aimed at, against peers as they come and in the best setting that was found for them."""
    real, short, long = "real lengths up to 512", "512 tokens each", "2,048 tokens each"

    def training(plain: str, lengths: str, peers: Sequence[str]) -> list[str]:
        return against(plain, "best", f"training, {lengths}", peers)

    def against(plain: str, best: str, title: str, peers: Sequence[str]) -> list[str]:
        return [_over(_case(plain, title), peers, AS_IT_COMES), _over(_case(best, title), peers, "")]

    inference = against("lengths", "best_inference", f"inference, {real}", PEERS)
    dropout = [
        _over(_case("alone_dropout", f"training, {each}"), [STOCK], AS_IT_COMES) for each in (short, long, real)
    ]
    ends = {
        name: statistics.median(run["tokens"] / run["seconds"] for run in runs)
        for name, runs in load("end_to_end")["runs"].items()
    }
    end_to_end_ratio = f"{ends[end_to_end.OURS] / ends[end_to_end.PLAIN]:.2f}x"
    utilisation = " and ".join(_utilisation(name, f"training, {short}") for name in ("alone", "best"))
    waiting = f"{load('loss_curve')['data_wait']:.2%}"
    unmeasured = ["not measured", "not measured"]
    rows = [
        ["training, 512 tokens, over stock RoFormer", "3x", *training("alone", short, [STOCK])],
        ["training, 2,048 tokens, over stock RoFormer", "4x", *training("alone", long, [STOCK])],
        ["training, real lengths, over stock RoFormer", "5x", *training("alone", real, [STOCK])],
        ["the same three, dropout 0.1", "3x, 4x, 5x", ", ".join(dropout), "not measured"],
        ["training, 512 tokens, over the fastest peer", "1.5x", *training("lengths", short, PEERS)],
        ["inference, real lengths, over the fastest peer", "2x", *inference],
        ["utilisation, training, 512 tokens", "50%", utilisation, ""],
        ["RoPE, what it costs of a step at 512 tokens", "at most 5%", _cost_of_positions(f"training, {short}"), ""],
        ["peak memory, training, 2,048 tokens, of stock RoFormer's", "at most 1/3", _memory(f"training, {long}"), ""],
        ["from raw text to 200 steps, over a plain pipeline", "3x", end_to_end_ratio, "not measured"],
        ["share of the time that the loop waits for data", "at most 1%", waiting, ""],
        ["one H200, base size, 512 and 4,096 tokens: utilisation", "50%", *unmeasured],
        ["one H200, base size, 512 tokens: tokens/s", "0.6 M", *unmeasured],
        ["one H200, base size: over stock RoFormer, compiled", "5x", *unmeasured],
    ]
    return markdown(["work", "target", "peers as they come", "peers in their best setting"], rows)


def _case(name: str, title: str) -> dict[str, Any]:
    found: dict[str, Any] = next(case for case in load(name)["cases"] if case["name"] == title)
    return found


def _over(case: dict[str, Any], peers: Sequence[str], variant: str) -> str:
    """How many times as fast as the fastest of these peers ours is, where they run as ``variant`` (empty: as any)."""
    return f"{ratio(case, lambda r: r['contestant'] in peers and r['variant'].startswith(variant)):.2f}x"


def _utilisation(name: str, title: str) -> str:
    case = _case(name, title)
    rate = max(load(name)["machine"]["matmul_rates"].values())
    return f"{case['flops'] / statistics.median(_result(case, OURS)['seconds']) / rate:.0%}"


def _cost_of_positions(title: str) -> str:
    """The median over rounds, and between which values half of them lie."""
    case = _case("rope", title)
    ours, without = (_result(case, name)["seconds"] for name in (OURS, WITHOUT_POSITIONS))
    costs = [a / b - 1 for a, b in zip(ours, without, strict=True)]
    low, middle, high = statistics.quantiles(costs, n=4)
    return f"{middle:.1%} ({low:.1%} to {high:.1%})"


def _memory(case_name: str) -> str:
    """Against the least that stock RoFormer takes in any setting."""
    cases = [_case(name, case_name) for name in ("alone", "best")]
    least = min(each["peak_bytes"] for case in cases for each in case["results"] if each["contestant"] == STOCK)
    return f"{_result(cases[0], OURS)['peak_bytes'] / least:.2f}"


def _result(case: dict[str, Any], contestant: str) -> dict[str, Any]:
    """Ours, with or without positions, which run in one way."""
    found: dict[str, Any] = next(each for each in case["results"] if each["contestant"] == contestant)
    return found


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
    return markdown(list(preparation.COLUMNS), preparation.table_rows(report["results"]))


def curves_table(report: dict[str, Any]) -> str:
    """The loss of both, and how far they are apart."""
    curves = list(report["curves"].items())
    (_, old), (_, new) = curves
    apart = max(abs(a - b) for a, b in zip(old["loss"], new["loss"], strict=True))
    rows = [
        [name, *(f"{curve['loss'][i]:.4f}" for i in (0, -1)), f"{curve['validation_loss']:.4f}"]
        for name, curve in curves
    ]
    table = markdown(["run", f"loss at step {old['step'][0]}", f"at step {old['step'][-1]}", "validation loss"], rows)
    return f"{table}\n\nThe training losses differ by {apart:.4f} at the most, over {len(old['step'])} logged steps."


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first columns are words and whose others are numbers."""
    numeric = [all(row[column][:1].isdigit() for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def lengths_figure(report: dict[str, Any], file: Path) -> None:
    """Tokens a second over the length, a line a contestant, peers as they come; training and inference."""
    works = [work for work in ("training", "inference") if any(case["work"] == work for case in report["cases"])]
    canvas, axes = plt.subplots(1, len(works), figsize=(5.2 * len(works), 4), squeeze=False)
    for axis, work in zip(axes[0], works, strict=True):
        lines: dict[str, dict[int, float]] = {}
        for case in (case for case in report["cases"] if case["work"] == work and case["length"]):
            as_it_comes = (r for r in case["results"] if r["contestant"] == OURS or r["variant"] == AS_IT_COMES)
            for result in as_it_comes:
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
    save(canvas, file)


def loss_figure(report: dict[str, Any], file: Path) -> None:
    """The loss of both over the steps, one on the other."""
    canvas, axis = plt.subplots(figsize=(5.2, 4))
    for (name, curve), style in zip(report["curves"].items(), (("-", 4), ("--", 1.2)), strict=True):
        axis.plot(curve["step"], curve["loss"], style[0], lw=style[1], label=name)
    axis.set(xlabel="step", ylabel="loss (nats)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(canvas, file)


def save(canvas: Figure, file: Path) -> None:
    """Writes a figure such that the same content gives the same file."""
    plt.rcParams["svg.hashsalt"] = "roformer"
    canvas.tight_layout()
    canvas.savefig(file, metadata={"Date": None})
    plt.close(canvas)


if __name__ == "__main__":
    main()
