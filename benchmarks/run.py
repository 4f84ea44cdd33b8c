"""Our RoFormer beside its peers: training steps and inference, on the same batches, in one run.

python -m benchmarks.run                                                        # make bench, some minutes
python -m benchmarks.run --lengths 128 512 2048 --variants --rounds 9           # peers in every setting they have
python -m benchmarks.run --lengths --data data=labelled data.path=reviews.csv   # the lengths of your own documents

Every contestant has the same sizes and a process of its own; they take turns, round after round. A figure is the
median over rounds of real tokens a second (padding is no token), with the least and the greatest. Utilisation is the
arithmetic that the work needs (benchmarks/flops.py) over the matmul rate measured in the same run. Ours runs as
`train.py` and `evaluate.py` run it: packed, with the attention backend that a measurement finds fastest and freed
memory kept. A peer runs as it comes, and the two fastest with freed memory kept as well; with --variants all do, and
compiled (batches of one length), or, in inference, sorted by length.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import MODERNBERT, OURS, PEERS, STOCK, WITHOUT_POSITIONS, Documents, Sizes
from benchmarks.flops import forward_flops, training_flops
from benchmarks.worker import Case, Variant, Worker, measure_machine
from roformer.build import build_corpus
from roformer.cli import one_line_errors
from roformer.config import TrainConfig
from roformer.data.packing import SPECIAL_TOKENS
from roformer.model.loss import IGNORE
from roformer.training.checkpoint import write_json
from roformer.training.provenance import provenance

CONF = Path(__file__).parents[1] / "conf"
TOKENS = 4096  # of a batch of documents of one length, or as near as whole documents come to it
DOCUMENTS, BATCHES = 16, 4  # documents of a batch, and batches of a repetition, where they have their real lengths
MASKED = 0.15
WIDTH = 118  # of a table that is written to a file


@one_line_errors
def main() -> None:
    arguments = parse(sys.argv[1:])
    machine = measure_machine(arguments.hidden_size, arguments.precision)
    rate = max(machine["matmul_rates"].values())
    report = {
        "schema_version": 1,
        **provenance(),
        "arguments": {**vars(arguments), "output": None},
        "machine": machine,
        "cases": [],
    }
    console = Console(width=max(Console().width, WIDTH))
    console.print(
        f"{machine['precision']} ({machine['why']}), {machine['threads']} threads, "
        f"matmul rate {rate / 1e9:,.0f} GFLOP/s"
    )
    for name, case in cases(arguments, machine["precision"]):
        contestants = variants(case, everything=arguments.variants)
        measured = measure(case, contestants, arguments.rounds, profile=arguments.profile)
        report["cases"].append({"name": name, **work_of(case), "results": measured})
        console.print(table(report["cases"][-1], rate))
        if arguments.output:
            write_json(arguments.output, report)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", nargs="+", choices=("training", "inference"), default=["training", "inference"])
    parser.add_argument("--lengths", type=int, nargs="*", default=[512, 2048], help="batches of one length, in tokens")
    parser.add_argument("--data", nargs="*", default=["data=docs"], help="documents with their real lengths, or none")
    parser.add_argument("--max-length", type=int, default=512, help="tokens at which such a document is cut")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", action="store_true", help="peers compiled and, in inference, sorted, too")
    parser.add_argument("--profile", action="store_true", help="in the output, where the time of ours goes")
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    return parser.parse_args(argv)


def cases(arguments: argparse.Namespace, precision: str) -> Iterator[tuple[str, Case]]:
    """Yields name and case: each kind of work at each length, and on documents as they are."""
    rng = np.random.default_rng(0)
    texts = None
    for work, length in product(arguments.work, [*arguments.lengths, *([None] if arguments.data else [])]):
        if length is None:
            texts = texts or corpus(arguments.data)
            documents, vocabulary = texts
            batches = real_batches(documents, arguments.max_length, rng)
        else:
            vocabulary = 8192
            rows = range(max(1, TOKENS // length))
            batches = [[masked(rng.integers(5, vocabulary, length), rng) for _ in rows]]
        sizes = Sizes(
            arguments.hidden_size, arguments.layers, arguments.heads, vocabulary,
            length or arguments.max_length, arguments.dropout,
        )  # fmt: skip
        lengths = f"{length:,} tokens each" if length else f"real lengths up to {arguments.max_length:,}"
        yield f"{work}, {lengths}", Case(work, batches, sizes, precision)


def corpus(overrides: list[str]) -> tuple[list[np.ndarray], int]:
    """Returns the tokens of each training document of a corpus, without special tokens, and the vocabulary's size."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = TrainConfig.from_hydra(compose("train", [*overrides, "tracker=none"]))
    _, tokens, tokenizer = build_corpus(config)
    train = tokens.splits["train"]
    return [train.document(i) for i in range(len(train))], len(tokenizer)


def real_batches(documents: list[np.ndarray], max_length: int, rng: np.random.Generator) -> list[Documents]:
    """Returns batches of documents drawn at random, cut to ``max_length`` tokens with the special ones."""
    chosen = rng.choice(len(documents), min(len(documents), DOCUMENTS * BATCHES), replace=False)
    cut = [documents[i][: max_length - SPECIAL_TOKENS].astype(np.int64) for i in chosen]
    framed = [masked(np.concatenate(([2], document, [3])), rng) for document in cut]
    return [framed[i : i + DOCUMENTS] for i in range(0, len(framed), DOCUMENTS)]


def masked(tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens and labels: 15 % of them are to be predicted."""
    labels = np.full_like(tokens, IGNORE)
    chosen = rng.choice(len(tokens), max(1, round(MASKED * len(tokens))), replace=False)
    labels[chosen] = tokens[chosen]
    return tokens, labels


def variants(case: Case, *, everything: bool) -> list[tuple[str, Variant]]:
    """Returns who runs how."""
    chosen = [(OURS, Variant(keep_memory=True))]
    if case.work == "training":
        chosen.append((WITHOUT_POSITIONS, Variant(keep_memory=True)))
    one_length = len({len(tokens) for batch in case.batches for tokens, _ in batch}) == 1
    compiled = (False, True) if everything and one_length else (False,)  # it compiles anew for each new shape
    by_length = (False, True) if everything and not one_length and case.work == "inference" else (False,)
    for name in PEERS:
        kept = (False, True) if everything or name in (STOCK, MODERNBERT) else (False,)
        chosen += [(name, Variant(*option)) for option in product(kept, compiled, by_length)]
    return chosen


def measure(case: Case, contestants: list[tuple[str, Variant]], rounds: int, *, profile: bool) -> list[dict[str, Any]]:
    """Returns the seconds of every round of everyone, and what they took; who cannot run is told and left out."""
    workers = []
    for name, variant in contestants:
        try:
            workers.append(Worker(name, variant, case))
        except RuntimeError as error:
            print(f"left out: {error}", file=sys.stderr)
    seconds = [[worker.repeat() for worker in workers] for _ in range(rounds)]
    return [
        {
            "contestant": worker.name, "variant": str(worker.variant), **worker.description,
            "seconds": [line[number] for line in seconds],
            **({"profile": worker.profile()} if profile and worker.name == OURS else {}),
            "peak_bytes": worker.close(),
        }
        for number, worker in enumerate(workers)
    ]  # fmt: skip


def work_of(case: Case) -> dict[str, Any]:
    """Returns tokens, and operations that are needed, of one repetition."""
    documents = [document for batch in case.batches for document in batch]
    lengths = [len(tokens) for tokens, _ in documents]
    predicted = sum(int((labels != IGNORE).sum()) for _, labels in documents)
    training = case.work == "training"
    flops = training_flops(case.sizes, lengths, predicted) if training else forward_flops(case.sizes, lengths, None)
    length = lengths[0] if len(set(lengths)) == 1 else None
    return {
        "work": case.work, "length": length, "documents": len(documents), "tokens": sum(lengths), "flops": flops,
    }  # fmt: skip


COLUMNS = ("", "how", "tokens/s", "least - greatest", "utilisation", "peak MiB", "ours is")


def table_rows(case: dict[str, Any], rate: float) -> list[list[str]]:
    """Returns ``COLUMNS`` of everyone who was measured, the fastest first."""
    results = sorted(case["results"], key=lambda result: statistics.median(result["seconds"]))
    ours = next((statistics.median(r["seconds"]) for r in results if r["contestant"] == OURS), None)
    rows = []
    for result in results:
        median = statistics.median(result["seconds"])
        slowest, fastest = (case["tokens"] / f(result["seconds"]) for f in (max, min))
        rows.append([
            result["contestant"], result["variant"], f"{case['tokens'] / median:,.0f}",
            f"{slowest:,.0f} - {fastest:,.0f}", f"{case['flops'] / median / rate:.0%}",
            f"{result['peak_bytes'] / 2**20:,.0f}", f"{median / ours:.2f}x" if ours else "",
        ])  # fmt: skip
    return rows


def table(case: dict[str, Any], rate: float) -> Table:
    shown = Table(*COLUMNS, title=f"{case['name']} ({case['tokens']:,} tokens)")
    for row in table_rows(case, rate):
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    main()
