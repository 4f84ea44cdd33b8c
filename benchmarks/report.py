"""Writes the tables and the figure of docs/performance.md from the JSON files next to it.

python -m benchmarks.report                          # after benchmarks.run --output docs/performance/<name>.json
python -m benchmarks.report outputs/bench/mine.json  # prints the table of a file of your own

The page keeps its words; what stands between `<!-- table: <name> -->` and `<!-- end -->` is made from <name>.json.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import attention_lengths, end_to_end, preparation, quantization, rotation
from benchmarks.contestants import OURS, PEERS, STOCK
from benchmarks.figures import attention_figure, lengths_figure, loss_figure
from benchmarks.run import SCHEMA_VERSION
from benchmarks.tables import COLUMNS, cost_of_positions, highlights, ratio, remarks, rounds_of, table_rows
from benchmarks.work import AS_IT_COMES
from roformer.cli.errors import one_line_errors
from roformer.errors import UserError

DOCS = Path(__file__).parents[1] / "docs"
SHORT = ("lengths", "dropout")  # of these the page has one row per case; the files hold all
PAGE, FOLDER = DOCS / "performance.md", DOCS / "performance"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="print the tables of these; none: write the page")
    for file in (files := parser.parse_args().files):
        print(block(read(file)))
    if files:
        return
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    lengths_figure(load("lengths"), FOLDER / "lengths.svg")
    loss_figure(load("loss_curve"), FOLDER / "loss_curve.svg")
    attention_figure(load("attention"), FOLDER / "attention.svg")


def page(text: str) -> str:
    """Returns the page with every table made anew."""

    def made(match: re.Match[str]) -> str:
        if match[2] == "summary":
            return f"{match[1]}\n{summary_table()}\n\n{match[3]}"
        made_of = short_block if match[2] in SHORT else block
        return f"{match[1]}\n{made_of(load(match[2]))}\n\n{match[3]}"

    return _BLOCK.sub(made, text)


def block(report: dict[str, Any]) -> str:
    """Returns where a report comes from, and its tables."""
    return f"{origin(report)}\n\n{table_of(report)(report)}"


def short_block(report: dict[str, Any]) -> str:
    """The same with one row per case."""
    return f"{origin(report)}\n\n{ratios_table(report)}"


def table_of(report: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """Returns what makes a table of such a report."""
    if "items" in report:
        return gpu_table
    if report.get("arguments", {}).get("profile"):
        return profiles_table
    return next(made for key, made in TABLES.items() if key in report)


def load(name: str) -> dict[str, Any]:
    return read(FOLDER / f"{name}.json")


def read(file: Path) -> dict[str, Any]:
    """Returns what a benchmark has written.

    Raises:
        UserError: if this is no such file.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is no file that a benchmark wrote with --output ({error})") from error
    if not isinstance(content, dict) or not TABLES.keys() & content:
        raise UserError(f"{file} is no file that a benchmark wrote with --output")
    if "cases" in content and content["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{file} was written by another version of benchmarks.run; measure anew")
    return content


def origin(report: dict[str, Any]) -> str:
    """The command, the rounds, the machine, the versions."""
    hardware, versions = report["hardware"], report["versions"]
    machine = report.get("machine")
    parts = [
        f"`{report['command']}`",
        *([f"rounds: {rounds}"] if (rounds := report.get("arguments", {}).get("rounds")) else []),
        f"{hardware['gpu'] or hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB",
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
            f"**{case['name']}**, {case['tokens']:,} real tokens{rounds_in_words(report, case)}",
            markdown(list(COLUMNS), table_rows(case, rate)),
            *remarks(case),
        ])
        for case in report["cases"]
    )  # fmt: skip


def ratios_table(report: dict[str, Any]) -> str:
    """A row for each case: ours, and how many times as fast it is as the fastest setting of each peer."""
    rate = max(report["machine"]["matmul_rates"].values())
    head = [
        "",
        "ours, tokens/s",
        "utilization",
        "peak MiB",
        *(f"over {peer.split(',')[0].split(' (')[0]}" for peer in PEERS),
    ]
    rows = []
    for case in report["cases"]:
        ours = _result(case, OURS)
        seconds = statistics.median(ours["seconds"])
        over = (ratio(case, lambda result, peer=peer: result["contestant"] == peer) for peer in PEERS)
        rows.append([
            case["name"], f"{case['tokens'] / seconds:,.0f}", f"{case['flops'] / seconds / rate:.0%}",
            f"{ours['peak_bytes'] / 2**20:,.0f}", *(f"{each:.2f}x" if each else "" for each in over),
        ])  # fmt: skip
    return markdown(head, rows)


def rounds_in_words(report: dict[str, Any], case: dict[str, Any]) -> str:
    """Their number where each case has its own, because they ended with the time."""
    return "" if report["arguments"].get("rounds") else f", rounds: {rounds_of(case)}"


@dataclass(frozen=True)
class Aim:
    """A row of the summary.

    Attributes:
        work: what was measured.
        target: what was aimed at, in ``unit``.
        measured: what came out; of a ratio, against peers as they come. None: not measured.
        best: against peers in the best setting that was found for them; None: not measured.
        is_ratio_to_peers: whether this is a ratio to peers.
        unit: ``x`` for ratios, ``%`` for shares, or nothing.
        at_most: less is better.
        spread: more words on what was measured.
    """

    work: str
    target: float
    measured: float | None
    best: float | None = None
    unit: str = "x"
    at_most: bool = False
    spread: str = ""
    is_ratio_to_peers: bool = True

    def row(self) -> list[str]:
        aimed = f"{100 * self.target:g}%" if self.unit == "%" else f"{self.target:.2g}{self.unit}"
        target = f"at most {aimed}" if self.at_most else aimed
        measured = [f"{self._written(self.measured)}{self.spread}", self._met(self.measured)]
        first = [self._written(self.best), self._met(self.best)] if self.is_ratio_to_peers else measured
        return [self.work, target, *first, *(measured if self.is_ratio_to_peers else ["", ""])]

    def _written(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        if self.unit == "%":
            return f"{value:.1%}" if value >= 0.01 else f"{value:.2%}"
        return f"{value:.2f}{self.unit}"

    def _met(self, value: float | None) -> str:
        if value is None:
            return ""
        return "yes" if (value <= self.target if self.at_most else value >= self.target) else "no"


SUMMARY = ("work", "target", "measured", "met", "peers as they come", "met")


def summary_table() -> str:
    """What was aimed at, and what came out."""
    real, short, long = "real lengths up to 512", "512 tokens each", "2,048 tokens each"

    def against(plain: str, best: str, title: str, peers: Sequence[str]) -> tuple[float, float]:
        return _over(_case(plain, title), peers), _over(_case(best, title), peers, "")

    from_text = end_to_end.times_as_fast(load("end_to_end")["runs"], end_to_end.PLAIN)
    cases = [
        ("512 tokens", f"training, {short}", 3),
        ("2,048 tokens", f"training, {long}", 4),
        ("real lengths", f"training, {real}", 5),
    ]
    memory, waiting = _memory(f"training, {long}"), load("loss_curve")["data_wait"]
    alone = {"is_ratio_to_peers": False}
    aims = [
        *(
            Aim(f"training, {name}, over stock RoFormer", aim, *against("lengths", "best", title, [STOCK]))
            for name, title, aim in cases
        ),
        *(
            Aim(f"the same with dropout 0.1, {name}", aim, _over(_case("dropout", title), [STOCK]))
            for name, title, aim in cases
        ),
        Aim(
            *("training, 512 tokens, over the fastest peer", 1.5),
            *against("lengths", "best", f"training, {short}", PEERS),
        ),
        Aim(
            *("inference, real lengths, over the fastest peer", 2),
            *against("lengths", "best_inference", f"inference, {real}", PEERS),
        ),
        Aim(
            "utilization, training, 512 tokens", 0.5, _utilization("lengths", f"training, {short}"), unit="%", **alone
        ),
        _cost_of_positions(f"training, {short}"),
        Aim("peak memory, training, 2,048 tokens, of stock RoFormer's", 1 / 3, memory, unit="", at_most=True, **alone),
        Aim("from raw text to 200 steps, over a plain pipeline", 3, from_text),
        Aim("share of the time that the loop waits for data", 0.01, waiting, unit="%", at_most=True, **alone),
        *gpu_aims(load("gpu") if (FOLDER / "gpu.json").exists() else {"cases": []}),
    ]
    return markdown(list(SUMMARY), [aim.row() for aim in aims])


def gpu_aims(report: dict[str, Any]) -> list[Aim]:
    """The rows of a GPU, from what benchmarks.gpu wrote; not measured where a case is missing."""
    cases = {case["name"]: case for case in report["cases"] if _has_ours(case)}
    short, long = (cases.get(f"training, {length} tokens each, base size") for length in ("512", "4,096"))
    used = tokens = over = None
    if short:
        seconds = statistics.median(_result(short, OURS)["seconds"])
        tokens, over = short["tokens"] / seconds / 1e6, ratio(short, lambda result: result["contestant"] == STOCK)
    if short and long:
        rate = max(report["machine"]["matmul_rates"].values())
        used = min(case["flops"] / statistics.median(_result(case, OURS)["seconds"]) / rate for case in (short, long))
    return [
        Aim("one H200, base size, 512 and 4,096 tokens: utilization", 0.5, used, unit="%", is_ratio_to_peers=False),
        Aim("one H200, base size, 512 tokens: million tokens/s", 0.6, tokens, unit="", is_ratio_to_peers=False),
        Aim("one H200, base size: over stock RoFormer, compiled", 5, None, over),
    ]


def _has_ours(case: dict[str, Any]) -> bool:
    return any(each["contestant"] == OURS and each["seconds"] for each in case["results"])


def _case(name: str, title: str) -> dict[str, Any]:
    found: dict[str, Any] = next(case for case in load(name)["cases"] if case["name"] == title)
    return found


def _over(case: dict[str, Any], peers: Sequence[str], variant: str = AS_IT_COMES) -> float:
    """How many times as fast as the fastest of these peers ours is, where they run as ``variant`` (empty: as any)."""
    found = ratio(case, lambda result: result["contestant"] in peers and result["variant"].startswith(variant))
    assert found is not None  # a file of this page holds ours and all peers
    return found


def _utilization(name: str, title: str) -> float:
    case = _case(name, title)
    rate = max(load(name)["machine"]["matmul_rates"].values())
    return float(case["flops"] / statistics.median(_result(case, OURS)["seconds"]) / rate)


def _cost_of_positions(title: str) -> Aim:
    """The median over rounds, and between which values half of them lie."""
    costs = cost_of_positions(_case("rope", title))
    assert costs is not None  # a file of this page holds both
    low, middle, high = costs
    spread = f" ({low:.1%} to {high:.1%})"
    work = "RoPE, what it costs of a step at 512 tokens"
    return Aim(work, 0.05, middle, unit="%", at_most=True, spread=spread, is_ratio_to_peers=False)


def _memory(case_name: str) -> float:
    """Against the least that stock RoFormer takes in any setting."""
    cases = [_case(name, case_name) for name in ("lengths", "best")]
    least = min(each["peak_bytes"] for case in cases for each in case["results"] if each["contestant"] == STOCK)
    return float(_result(cases[0], OURS)["peak_bytes"] / least)


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


def gpu_table(report: dict[str, Any]) -> str:
    """What benchmarks.gpu found: its items, whether the numbers are the CPU's, matmul rates, speed, and a profile."""
    items = [[name, item["outcome"], f"{item['seconds']:.0f}"] for name, item in report["items"].items()]
    rates = [[name, f"{rate / 1e12:,.1f}"] for name, rate in report["machine"]["matmul_rates"].items()]
    rate = max(report["machine"]["matmul_rates"].values())
    different = [f"{name}: {found}" for name, found in report["parity"].items() if found]
    parts = [
        markdown(["item", "outcome", "seconds"], items),
        f"{len(report['parity'])} combinations of encoding, backend, model and layout compared with the CPU; of these "
        f"{len(different)} differ.",
        *different,
        markdown(["matrix product", "TFLOP/s"], rates),
        *highlights(report["cases"], rate),
    ]
    profiled = [case for case in report["cases"] if any("profile" in result for result in case["results"])]
    return "\n\n".join([*parts, cases_table(report), profiles_table({**report, "cases": profiled})])


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
    return (
        f"{table}\n\nThe training losses differ by {apart:.4f} at the most, over {len(old['step'])} logged steps. "
        f"This commit's loop waited for data {report['data_wait']:.2%} of the time."
    )


def attention_table(report: dict[str, Any]) -> str:
    """Nanoseconds a token and head of each backend, by length."""
    return markdown(attention_lengths.columns(report), attention_lengths.table_rows(report))


def rotation_table(report: dict[str, Any]) -> str:
    """The time of rotations, by precision and work, over that of transformers' code."""
    return markdown(rotation.columns(report), rotation.table_rows(report))


def quantization_table(report: dict[str, Any]) -> str:
    """Score, size and CPU time of an export in float32, bfloat16 and int8."""
    return markdown(quantization.columns(report), quantization.table_rows(report))


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first columns are words and whose others are numbers."""
    numeric = [all(row[column][:1].isdigit() for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "cases": cases_table, "runs": runs_table, "results": preparation_table, "curves": curves_table,
    "nanoseconds": attention_table, "rotation_seconds": rotation_table,
    "quantization": quantization_table,
}  # fmt: skip
"""What a benchmark's output holds -> what tables it."""


if __name__ == "__main__":
    main()
