"""From raw text to so many training steps: `train.py` vs. a plain transformers pipeline, as a user would time both.

python -m benchmarks.end_to_end reviews.parquet --steps 200 --output outputs/bench/end_to_end.json

Each is a process of its own, with empty caches, timed from its start to its end: imports, reading, tokenizing the
whole corpus, and the steps, of about as many real tokens. Both use one tokenizer, trained before. They take turns.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.run import positive
from benchmarks.tables import WIDTH
from roformer.cli.errors import one_line_errors
from roformer.config import CONF, TrainConfig
from roformer.data.corpus import Corpus
from roformer.errors import UserError
from roformer.io import write_json
from roformer.runs import RunFolder
from roformer.runs.provenance import provenance
from roformer.tokenizer import TOKENIZERS

ROOT = CONF.parent
OURS, PLAIN = "train.py", "plain transformers pipeline"


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_to_end", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("text", type=Path, help="a parquet file with a column text, one document a row")
    parser.add_argument("--steps", type=positive, default=200)
    parser.add_argument("--max-length", type=positive, default=512)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args()
    text = str(arguments.text.resolve())
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(text, Path(folder))
        runs: dict[str, list[dict[str, float]]] = {OURS: [], PLAIN: []}
        turns = [(OURS, run_ours), (PLAIN, run_plain)]
        for number in range(arguments.rounds):
            for name, run in turns[:: -1 if number % 2 else 1]:  # who begins changes
                runs[name].append(run(text, tokenizer, arguments))
    settings = {"text": arguments.text.name, "steps": arguments.steps, "max_length": arguments.max_length}
    if arguments.output:
        write_json(arguments.output, {"schema_version": 1, **provenance(), "arguments": settings, "runs": runs})
    Console(width=WIDTH).print(table(runs))


def train_tokenizer(text: str, folder: Path) -> str:
    """Trains a WordPiece tokenizer on the corpus; returns its folder."""
    config = TrainConfig.compose("data=text", f"data.path={text}", "tokenizer.max_characters=20_000_000")
    corpus = Corpus.from_settings(config.data)
    tokenizer = TOKENIZERS.build(config.tokenizer).prepare(
        corpus.source, cache_dir=folder / "tokenizer-cache", **corpus.fractions
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    return str(folder / "tokenizer")


def run_ours(text: str, tokenizer: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns seconds and real tokens of one run of `train.py`, batches of eight full rows."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "train.py", "model=small", "data=text", f"data.path={text}", "tokenizer=pretrained",
            f"tokenizer.path={tokenizer}", f"task.sequence_length={arguments.max_length}", "task.max_eval_rows=1",
            "trainer.batch_size=8", f"trainer.max_steps={arguments.steps}", f"trainer.eval_steps={arguments.steps}",
            "tracker=none", f"paths.cache_dir={folder}/cache", f"paths.output_dir={folder}/run",
        ]  # fmt: skip
        seconds, _ = timed(command)
        return {"seconds": seconds, "tokens": RunFolder(Path(folder) / "run").metrics()[-1]["tokens"]}


def run_plain(text: str, tokenizer: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the same of the plain pipeline, batches of sixteen documents."""
    options = ["--max-length", str(arguments.max_length)]
    seconds, printed = timed(["-m", "benchmarks.plain_pipeline", text, tokenizer, str(arguments.steps), *options])
    return {"seconds": seconds, "tokens": int(printed.splitlines()[-1])}


def timed(command: list[str]) -> tuple[float, str]:
    """Returns the seconds that a Python process takes, and what it prints.

    Raises:
        UserError: if it fails, with its last line.
    """
    start = time.perf_counter()
    result = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        raise UserError(f"{' '.join(command)} failed: {last_line(result)}")
    return seconds, result.stdout


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    """Returns what a process that failed said last."""
    return (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]


COLUMNS = ("", "seconds", "least - greatest", "real tokens", "tokens/s", "ours is")


def table_rows(runs: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """Returns ``COLUMNS`` of both, medians over the rounds."""
    rows = []
    for name, each in runs.items():
        seconds, tokens = [run["seconds"] for run in each], statistics.median(run["tokens"] for run in each)
        rate = statistics.median(run["tokens"] / run["seconds"] for run in each)
        rows.append([
            name, f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f} - {max(seconds):.1f}", f"{tokens:,.0f}",
            f"{rate:,.0f}", f"{times_as_fast(runs, name):.2f}x",
        ])  # fmt: skip
    return rows


def times_as_fast(runs: dict[str, list[dict[str, float]]], name: str) -> float:
    """Returns how many times as many tokens a second ours takes: the median over rounds."""
    rates = [[run["tokens"] / run["seconds"] for run in runs[each]] for each in (OURS, name)]
    return statistics.median(ours / theirs for ours, theirs in zip(*rates, strict=True))


def table(runs: dict[str, list[dict[str, float]]]) -> Table:
    shown = Table(*COLUMNS, title="From text to a model")
    for row in table_rows(runs):
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    main()
