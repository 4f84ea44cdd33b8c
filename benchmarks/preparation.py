"""From documents to tokens on disk: ours vs. `datasets.map` with the same tokenizer, in MB of text a second.

python -m benchmarks.preparation reviews.parquet --megabytes 100 1000 --output outputs/bench/preparation.json

The documents are repeated, each with a number in front, until there are so many. Each contestant is a process of its
own with empty caches; its peak memory, that of the processes it starts included, shows whether the corpus has to fit.
"""

import argparse
import contextlib
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerFast

from benchmarks.end_to_end import train_tokenizer
from benchmarks.run import positive
from benchmarks.tables import WIDTH
from roformer.cli.errors import one_line_errors
from roformer.data import SOURCES
from roformer.data.tokenize import tokenize_corpus
from roformer.io import write_json
from roformer.runs.provenance import provenance
from roformer.runtime.allocator import disable_malloc_trim

MEGABYTE = 10**6
_SPAWN = multiprocessing.get_context("spawn")  # the tokenizer's threads do not survive a fork


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preparation", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("text", type=Path, help="a parquet file with a column text, one document a row")
    parser.add_argument("--megabytes", type=positive, nargs="+", default=[100])
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args()
    cores, results = provenance()["hardware"]["cores"], []
    contestants = {
        "ours": (ours, ()),
        "datasets.map": (plain, (None,)),
        f"datasets.map, num_proc={cores}": (plain, (cores,)),
    }
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(str(arguments.text.resolve()), Path(folder))
        for megabytes in arguments.megabytes:
            corpus = str(Path(folder) / f"{megabytes}.parquet")
            repeat(arguments.text, Path(corpus), megabytes)
            for name, (work, options) in contestants.items():
                seconds, peak = apart(work, corpus, tokenizer, *options)
                results.append({"contestant": name, "megabytes": megabytes, "seconds": seconds, "peak_bytes": peak})
    if arguments.output:
        write_json(arguments.output, {"schema_version": 1, **provenance(), "results": results})
    shown = Table(*COLUMNS, title="From text to tokens")
    for row in table_rows(results):
        shown.add_row(*row)
    Console(width=WIDTH).print(shown)


COLUMNS = ("", "MB of text", "seconds", "MB/s", "peak MiB")


def table_rows(results: list[dict[str, Any]]) -> list[list[str]]:
    """Returns ``COLUMNS`` of every run."""
    return [
        [
            result["contestant"], f"{result['megabytes']:,}", f"{result['seconds']:.1f}",
            f"{result['megabytes'] / result['seconds']:.1f}", f"{result['peak_bytes'] / 2**20:,.0f}",
        ]
        for result in results
    ]  # fmt: skip


def repeat(source: Path, target: Path, megabytes: int) -> None:
    """Writes the documents of ``source`` again and again, numbered, up to so many megabytes of text."""
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist()

    def numbered() -> Iterator[list[str]]:
        written = number = 0
        while written < megabytes * MEGABYTE:
            batch = [f"{number + i} {texts[(number + i) % len(texts)]}" for i in range(1000)]
            number += len(batch)
            written += sum(len(text.encode()) for text in batch)
            yield batch

    with pq.ParquetWriter(target, pa.schema([("text", pa.string())])) as writer:
        for batch in numbered():
            writer.write_table(pa.table({"text": batch}))


def apart(work: Callable[..., None], *arguments: Any) -> tuple[float, int]:
    """Runs in a process of its own; returns its seconds, without imports, and the most that it had in memory."""
    with _SPAWN.Pool(1) as pool:
        return pool.apply(_timed, (work, *arguments))


def _timed(work: Callable[..., None], *arguments: Any) -> tuple[float, int]:
    peaks, done = [_private_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peaks.append(_private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work(folder, *arguments)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, max(peaks)


def _private_bytes() -> int:
    """Returns the memory of this process and all below it that no file backs, what they share counted once; what is
    mapped from files the system takes back when it likes. Where it is not Linux, their unique set sizes."""
    total, this = 0, psutil.Process()
    for process in (this, *this.children(recursive=True)):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup")
        with contextlib.suppress(psutil.Error, OSError):  # it has just ended
            if psutil.LINUX:
                line = next(line for line in rollup.read_text().splitlines() if line.startswith("Pss_Anon"))
                total += int(line.split()[1]) * 1024
            else:
                total += process.memory_full_info().uss
    return total


def ours(folder: str, corpus: str, tokenizer: str) -> None:
    disable_malloc_trim()
    source = SOURCES.build({"name": "text", "path": corpus, "text_column": "text"})
    backend = PreTrainedTokenizerFast.from_pretrained(tokenizer)
    tokenize_corpus(source, backend, cache_dir=Path(folder), validation_fraction=0.0, test_fraction=0.0)


def plain(folder: str, corpus: str, tokenizer: str, processes: int | None) -> None:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    backend = PreTrainedTokenizerFast.from_pretrained(tokenizer)
    documents = load_dataset("parquet", data_files=corpus, split="train", cache_dir=folder)
    documents.map(
        lambda batch: {"input_ids": backend(batch["text"], add_special_tokens=False)["input_ids"]},
        batched=True, remove_columns=["text"], num_proc=processes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
