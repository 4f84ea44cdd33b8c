"""Our RoFormer vs. its peers: training steps and inference, on the same batches, in one run.

python -m benchmarks.run                                                        # make bench, some minutes
python -m benchmarks.run --lengths 128 512 2048 --best --rounds 9               # peers in the best setting they have
python -m benchmarks.run --lengths --data data=labeled data.path=reviews.csv   # the lengths of your own documents
python -m benchmarks.run --lengths 512 --data --positions all --rounds 15       # what each position encoding costs
python -m benchmarks.run --lengths 512 2048 --data --peers "roformer (ours"       # what train.py adds to a plain model

Every contestant has the same sizes and a process of its own. Each peer takes turns with ours, round after round,
and no other peer is alive meanwhile (with --positions all encodings take turns together). A figure is the median
over rounds of real tokens a second (padding is no token), with the least and the greatest; "ours is" is the median
of the ratios of two turns in the same round. Utilization is the arithmetic that the work needs (benchmarks/flops.py)
over the matmul rate measured in the same run. Ours runs as `train.py` and `evaluate.py` run it: packed, with the
attention backend that a measurement finds fastest and freed memory kept. A peer runs as it comes, and stock RoFormer
and ModernBERT with freed memory kept as well. With --best all peers run with freed memory kept and documents sorted by
length, uncompiled and compiled.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import ENCODINGS, LIBRARY, MODERNBERT, OURS, PEERS, STOCK, Documents, Sizes
from benchmarks.flops import forward_flops, training_flops
from benchmarks.worker import Case, Variant, Worker, apart, measure_backend, measure_machine
from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig
from roformer.data.packing import FRAME_TOKENS
from roformer.errors import UserError
from roformer.io import write_json
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.position import POSITION_ENCODINGS
from roformer.runs.provenance import provenance
from roformer.tasks.factory import build_corpus

DOCUMENTS, BATCHES = 16, 4  # documents of a batch, and batches of a repetition, where they have their real lengths
MASKED = 0.15
SCHEMA_VERSION = 3  # of the output
FEW = 3  # rounds, below which there is a warning
UNSTEADY = 1.5  # slowest over fastest round, from which on there is a warning
_OURS = Variant(keep_memory=True)
WIDTH = 118  # of a table that is written to a file


@one_line_errors
def main() -> None:
    arguments = parse(sys.argv[1:])
    peers = chosen_peers(arguments)
    texts = corpus(arguments.data) if arguments.data else None
    machine = apart(measure_machine, arguments.hidden_size, arguments.precision)
    rate = max(machine["matmul_rates"].values())
    origin = apart(provenance)
    origin["versions"]["x-transformers"] = version("x-transformers")
    report = {
        "schema_version": SCHEMA_VERSION,
        **origin,
        "arguments": {**vars(arguments), "output": None},
        "machine": machine,
        "cases": [],
    }
    console = Console(width=max(Console().width, WIDTH))
    console.print(
        f"{machine['precision']} ({machine['why']}), {machine['threads']} threads, "
        f"matmul rate {rate / 1e9:,.0f} GFLOP/s"
    )
    for name, case in cases(arguments, texts, machine["precision"]):
        together = groups(case, peers, best=arguments.best)
        report["cases"].append(
            {"name": name, **work_of(case), **measure(case, together, arguments.rounds, profile=arguments.profile)}
        )
        console.print(table(report["cases"][-1], rate))
        for line in remarks(report["cases"][-1]):
            console.print(line)
        if arguments.output:
            write_json(arguments.output, report)
    console.print(ratios(report["cases"], peers))
    if any(each["contestant"] == OURS for case in report["cases"] for each in case["skipped"]):
        raise UserError("ours could not run everything: see what was skipped above")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", nargs="+", choices=("training", "inference"), default=["training", "inference"])
    parser.add_argument(
        "--lengths", type=positive, nargs="*", default=[512, 2048], help="batches of one length, in tokens"
    )
    parser.add_argument(
        "--tokens", type=positive, default=4096, help="of such a batch, or one sequence if it is longer"
    )
    parser.add_argument("--data", nargs="*", default=["data=docs"], help="documents with their real lengths, or none")
    parser.add_argument(
        "--max-length", type=positive, default=512, help="tokens at which such a document is cut, 3 or more"
    )
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--layers", type=positive, default=4)
    parser.add_argument("--hidden-size", type=positive, default=256)
    parser.add_argument("--heads", type=positive, default=4)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--peers", nargs="+", default=PEERS, help="beginnings of their names; all by default")
    parser.add_argument(
        "--positions", nargs="+", choices=("all", *POSITION_ENCODINGS), default=[], metavar="ENCODING",
        help="in place of peers, our model with other position encodings",
    )  # fmt: skip
    parser.add_argument("--best", action="store_true", help="peers in their best setting, not as they come")
    parser.add_argument("--profile", action="store_true", help="in the output, where the time of ours goes")
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args(argv)
    if not arguments.lengths and not arguments.data:
        parser.error("--lengths and --data are both empty: there is nothing to measure")
    if arguments.max_length <= FRAME_TOKENS:
        parser.error(f"--max-length must be above {FRAME_TOKENS}, got {arguments.max_length}")
    if arguments.positions and (arguments.best or arguments.peers is not PEERS):
        parser.error("--positions compares our own model in its one setting: leave out --peers and --best")
    return arguments


def positive(text: str) -> int:
    """Reads an argument that counts something."""
    if (value := int(text)) < 1:
        raise ValueError
    return value


def chosen_peers(arguments: argparse.Namespace) -> list[str]:
    """Returns the peers of a run.

    Raises:
        UserError: if nobody has such a name.
    """
    if arguments.positions:
        asked = POSITION_ENCODINGS if "all" in arguments.positions else arguments.positions
        return [name for encoding in asked if (name := f"ours, {encoding}") in ENCODINGS]
    known = [LIBRARY, *PEERS]
    for part in arguments.peers:
        if not any(name.lower().startswith(part.lower()) for name in known):
            raise UserError(
                f"--peers {part}: nobody's name begins so; there are {'; '.join(known)} (the beginning is enough)"
            )
    return [name for name in known if any(name.lower().startswith(part.lower()) for part in arguments.peers)]


Corpus = tuple[list[np.ndarray], int]
"""Tokens of documents, and the size of the vocabulary."""


def cases(arguments: argparse.Namespace, texts: Corpus | None, precision: str) -> Iterator[tuple[str, Case]]:
    """Yields name and case: each kind of work at each length, and on documents as they are."""
    for work, length in product(arguments.work, [*arguments.lengths, *([None] if texts else [])]):
        rng = np.random.default_rng(0)  # the same documents whatever else is measured
        if length:
            name, vocabulary = f"{work}, {length:,} tokens each", 8192
            rows = range(max(1, arguments.tokens // length))
            batches = [[masked(rng.integers(5, vocabulary, length), rng) for _ in rows]]
        else:
            documents, vocabulary = texts or ([], 0)
            name = f"{work}, real lengths up to {arguments.max_length:,}"
            batches = real_batches(documents, arguments.max_length, rng)
        sizes = Sizes(
            arguments.hidden_size, arguments.layers, arguments.heads, vocabulary, length or arguments.max_length,
            arguments.dropout,
        )  # fmt: skip
        yield name, Case(work, batches, sizes, length, precision, apart(measure_backend, sizes, precision))


def corpus(overrides: list[str]) -> Corpus:
    """Returns the tokens of each training document of a corpus, without special tokens, and the vocabulary's size."""
    config = TrainConfig.compose(*overrides, "tracker=none")
    tokens, tokenizer = build_corpus(config)
    train = tokens.splits["train"]
    return [train.document(i) for i in range(len(train))], len(tokenizer)


def real_batches(documents: list[np.ndarray], max_length: int, rng: np.random.Generator) -> list[Documents]:
    """Returns batches of documents drawn at random, cut to ``max_length`` tokens with the special ones."""
    chosen = rng.choice(len(documents), min(len(documents), DOCUMENTS * BATCHES), replace=False)
    cut = [documents[i][: max_length - FRAME_TOKENS].astype(np.int64) for i in chosen]
    framed = [masked(np.concatenate(([2], document, [3])), rng) for document in cut]
    return [framed[i : i + DOCUMENTS] for i in range(0, len(framed), DOCUMENTS)]


def masked(tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens and labels: 15 % of them are to be predicted."""
    labels = np.full_like(tokens, IGNORE_INDEX)
    chosen = rng.choice(len(tokens), max(1, round(MASKED * len(tokens))), replace=False)
    labels[chosen] = tokens[chosen]
    return tokens, labels


Contestants = list[tuple[str, Variant]]


def groups(case: Case, peers: list[str], *, best: bool) -> list[Contestants]:
    """Returns the peers of each run of ours: each peer in each setting by itself, all position encodings together."""
    if all(name in ENCODINGS for name in peers):
        return [[(name, _OURS) for name in peers]]
    differ = case.length is None
    together = []
    for name in peers:
        if best:
            kept = Variant(keep_memory=True, by_length=differ)
            settings = [kept, replace(kept, compiled=True)]
        else:
            settings = [Variant(), *([Variant(keep_memory=True)] if name in (STOCK, MODERNBERT) else [])]
        together += [[(name, variant)] for variant in settings]
    return together


def measure(case: Case, together: list[Contestants], rounds: int, *, profile: bool) -> dict[str, Any]:
    """Returns ``results``: the seconds of every round and the memory of everyone, for peers also ours of the same
    rounds; and who is ``skipped``, and why."""
    ours: list[dict[str, Any]] = []
    others, failed = [], []
    for contestants in together:
        first = profile and not ours
        results, dropped = take_turns(case, [(OURS, _OURS), *contestants], rounds, profile=first)
        mine = [result for result in results if result["contestant"] == OURS]
        of_ours = mine[0]["seconds"] if mine else []
        others += [{**result, "seconds_of_ours": of_ours} for result in results if result["contestant"] != OURS]
        failed += [each for each in dropped if each not in failed]
        ours += mine
    if ours:
        seconds = [second for result in ours for second in result["seconds"]]
        others.insert(0, {**ours[0], "seconds": seconds, "peak_bytes": max(result["peak_bytes"] for result in ours)})
    return {"results": others, "skipped": failed}


def take_turns(
    case: Case, contestants: Contestants, rounds: int, *, profile: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns what was measured of everyone, and who could not run.

    Everyone has one turn after the other, so that a machine that is slow for a while is slow for all; who begins
    changes from round to round.
    """
    running = {(name, variant): turns(name, variant, case, rounds, profile=profile) for name, variant in contestants}
    results, failed = [], []
    for turn in range(1 + rounds + 1):
        order = list(running.items())
        first = turn % max(1, len(order))
        for (name, variant), steps in order[first:] + order[:first]:
            running_as = {"contestant": name, "variant": str(variant)}
            try:
                outcome = next(steps)
            except RuntimeError as error:
                failed.append({**running_as, "why": str(error)})
                del running[name, variant]
            else:
                results += [{**running_as, **outcome}] if turn == 1 + rounds else []
    return results, failed


def turns(name: str, variant: Variant, case: Case, rounds: int, *, profile: bool) -> Iterator[dict[str, Any]]:
    """Yields after the start and after each round, and at last the whole report."""
    worker, seconds = Worker(name, variant, case), []
    try:
        yield {}
        for _ in range(rounds):
            seconds.append(worker.repeat())
            yield {}
        operations = {"profile": worker.profile()} if profile and name == OURS else {}
        yield {**worker.description, "seconds": seconds, **operations, "peak_bytes": worker.peak()}
    finally:
        worker.stop()


def ratios(cases: list[dict[str, Any]], peers: list[str]) -> Table:
    """How many times as fast ours is as everyone in the fastest of their settings, a column a case."""
    shown = Table(
        "ours is",
        *(case["name"] for case in cases),
        title="Ratios to the fastest setting of each, medians over rounds",
    )
    for name in peers:
        ratios = [ratio(case, lambda result, name=name: result["contestant"] == name) for case in cases]
        shown.add_row(name, *(f"{each:.2f}x" if each else "" for each in ratios))
    return shown


def ratio(case: dict[str, Any], is_peer: Callable[[dict[str, Any]], bool]) -> float | None:
    """Returns how many times as fast ours is as the fastest peer; None where nobody, or not ours, was measured."""
    found = [times_as_fast(case, result) for result in case["results"] if is_peer(result)]
    return min((each for each in found if each), default=None)


def times_as_fast(case: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Returns how many times as fast ours is: the median over rounds, for both had their turn in each. None if ours
    could not run there."""
    of_ours = theirs["seconds"] if theirs["contestant"] == OURS else theirs["seconds_of_ours"]
    return statistics.median(a / b for a, b in zip(theirs["seconds"], of_ours, strict=True)) if of_ours else None


def work_of(case: Case) -> dict[str, Any]:
    """Returns tokens, and operations that are needed, of one repetition."""
    documents = [document for batch in case.batches for document in batch]
    lengths = [len(tokens) for tokens, _ in documents]
    predicted = sum(int((labels != IGNORE_INDEX).sum()) for _, labels in documents)
    training = case.work == "training"
    flops = training_flops(case.sizes, lengths, predicted) if training else forward_flops(case.sizes, lengths, None)
    return {
        "work": case.work, "length": case.length, "documents": len(documents), "tokens": sum(lengths), "flops": flops,
    }  # fmt: skip


COLUMNS = ("", "how", "tokens/s", "least - greatest", "utilization", "peak MiB", "ours is")


def table_rows(case: dict[str, Any], rate: float) -> list[list[str]]:
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


def remarks(case: dict[str, Any]) -> list[str]:
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


def table(case: dict[str, Any], rate: float) -> Table:
    shown = Table(*COLUMNS, title=f"{case['name']} ({case['tokens']:,} tokens)")
    for row in table_rows(case, rate):
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    main()
