"""Our RoFormer vs. its peers: training steps and inference, on the same batches, in one run.

python -m benchmarks.run                                                       # make bench, at most 6 minutes
python -m benchmarks.run --budget 1800 --peers roformer, bert modern x-        # more rounds, all peers
python -m benchmarks.run --lengths --data data=labeled data.path=reviews.csv   # the lengths of your own documents
python -m benchmarks.run --settings plain kept --rounds 5                      # peers as they come; so many rounds
python -m benchmarks.run --work training --lengths 512 --data --positions all  # what each position encoding costs

Every contestant has the same sizes and a process of its own; all of a case take turns, round after round, until its
share of the time is spent. A figure is the median over rounds of real tokens a second (padding is no token), with the
least and the greatest; "ours is" is the median of the ratios of two turns in the same round. Utilization is the
arithmetic that the work needs (benchmarks/flops.py) over the matmul rate measured in the same run. Ours runs as
`train.py` and `evaluate.py` run it: packed, with the attention backend that a measurement finds fastest and freed
memory kept. A peer runs in its best setting: with freed memory kept, documents sorted by length, and compiled, which
is not counted, or uncompiled where that is not done within seven tenths of the case's time; PyTorch keeps what it has
compiled for the next run. The default peers are those that were the fastest in their best setting so far.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.contestants import (
    ENCODINGS,
    FASTEST_PEERS,
    LIBRARY,
    MODERNBERT,
    OURS,
    PEERS,
    WITHOUT_POSITIONS,
    X_TRANSFORMERS,
    Documents,
    Sizes,
    is_missing,
)
from benchmarks.machine import measure_backend, measure_machine
from benchmarks.rounds import Contestants, Pace, measured
from benchmarks.tables import WIDTH, highlights, ratios, remarks, table
from benchmarks.work import Case, Variant
from benchmarks.worker import apart
from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig
from roformer.data.packing import FRAME_TOKENS
from roformer.errors import UserError
from roformer.io import write_json
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.position import POSITION_ENCODINGS
from roformer.runs.provenance import provenance
from roformer.tasks.factory import build_corpus

DOCUMENTS, BATCHES = 16, 4  # documents of a batch, and batches of a pass, where they have their real lengths
MASKED = 0.15
SCHEMA_VERSION = 3  # of the output
BUDGET = 330  # seconds of a run; starting and ending it take some more
LONG = 100_000.0  # seconds of a case whose rounds are counted
DATA = ["data=docs", "data.packages=[stdlib]"]  # all of its packages take a minute to tokenize
LEAST = 10  # seconds, below which no case is begun
OPERATIONS = 15  # of a profile
OURS_RUNS = Variant(keep_memory=True)
WINDOWED = Sizes(hidden_size=768, layers=12, heads=12, vocabulary=8192, length=8192, dropout=0.0, local_attention=128)
SETTINGS = {
    "compiled": Variant(keep_memory=True, compiled=True),
    "kept": Variant(keep_memory=True),
    "plain": Variant(),
}


@one_line_errors
def main() -> None:
    begun = time.monotonic()
    arguments = parse(sys.argv[1:])
    peers = chosen_peers(arguments)
    texts = corpus(arguments.data) if arguments.data else None
    machine = apart(measure_machine, arguments.hidden_size, arguments.precision)
    rate = max(machine["matmul_rates"].values())
    report = {
        "schema_version": SCHEMA_VERSION,
        **origin(),
        "arguments": {**vars(arguments), "output": None},
        "machine": machine,
        "cases": [],
    }
    console = Console(width=max(Console().width, WIDTH))
    console.print(
        f"{machine['precision']} ({machine['why']}), {machine['threads']} threads, "
        f"matmul rate {rate / 1e9:,.0f} GFLOP/s"
    )
    todo = list(cases(arguments, texts, machine["precision"]))
    for number, (name, case) in enumerate(todo):
        left = arguments.budget - (time.monotonic() - begun)
        share = left * weight(case) / sum(weight(other) for _, other in todo[number:])
        pace = Pace(LONG, turn=0, rounds=arguments.rounds) if arguments.rounds else Pace(share, left)
        if not arguments.rounds and share < LEAST:
            console.print(f"skipped: {name}: no time left of --budget {arguments.budget}")
            continue
        report["cases"].append({"name": name, **case.summary(), **run(case, peers, pace, arguments)})
        console.print(table(report["cases"][-1], rate))
        for line in remarks(report["cases"][-1]):
            console.print(line)
        if arguments.output:
            write_json(arguments.output, report)
    console.print(ratios(report["cases"], peers))
    for line in highlights(report["cases"], rate):
        console.print(line)
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
    parser.add_argument("--data", nargs="*", default=DATA, help="documents with their real lengths, or none")
    parser.add_argument(
        "--max-length", type=positive, default=512, help="tokens at which such a document is cut, 3 or more"
    )
    parser.add_argument("--windows", action="store_true", help="also inference at 8,192 tokens in windows")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--layers", type=positive, default=4)
    parser.add_argument("--hidden-size", type=positive, default=256)
    parser.add_argument("--heads", type=positive, default=4)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--budget", type=positive, default=BUDGET, help="seconds of the whole run")
    parser.add_argument("--rounds", type=positive, help="exactly so many, of one pass, however long")
    parser.add_argument(
        "--peers", nargs="+", default=FASTEST_PEERS, help="beginnings of their names; those that were the fastest"
    )
    parser.add_argument(
        "--positions", nargs="+", choices=("all", *POSITION_ENCODINGS), default=[], metavar="ENCODING",
        help="in place of peers, our model with other position encodings",
    )  # fmt: skip
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=["compiled"],
        help="of peers: compiled, kept (freed memory kept, sorted by length), or plain, as they come",
    )  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="in the output, where the time of ours goes")
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args(argv)
    if not arguments.lengths and not arguments.data:
        parser.error("--lengths and --data are both empty: there is nothing to measure")
    if arguments.max_length <= FRAME_TOKENS:
        parser.error(f"--max-length must be above {FRAME_TOKENS}, got {arguments.max_length}")
    if arguments.positions and arguments.peers is not FASTEST_PEERS:
        parser.error("--positions compares our own model: leave out --peers")
    return arguments


def positive(text: str) -> int:
    """Reads an argument that counts something."""
    if (value := int(text)) < 1:
        raise ValueError
    return value


def origin() -> dict[str, Any]:
    """Returns where a report comes from."""
    found: dict[str, Any] = apart(provenance)
    if not is_missing(X_TRANSFORMERS):
        found["versions"]["x-transformers"] = version("x-transformers")
    return found


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
    """Yields name and case: each kind of work at each length, and on documents as they are; and windows."""
    for work, length in product(arguments.work, [*arguments.lengths, *([None] if texts else [])]):
        sizes = Sizes(
            arguments.hidden_size, arguments.layers, arguments.heads, 8192, length or arguments.max_length,
            arguments.dropout,
        )  # fmt: skip
        if length:
            yield case_of_length(work, sizes, length, arguments.tokens, precision)
            continue
        documents, vocabulary = texts or ([], 0)
        sizes = replace(sizes, vocabulary=vocabulary)
        batches = real_batches(documents, arguments.max_length, np.random.default_rng(0))
        backend = apart(measure_backend, sizes, precision)
        name = f"{work}, real lengths up to {arguments.max_length:,}"
        yield name, Case(work, batches, sizes, None, precision, backend)
    if arguments.windows:
        name, case = case_of_length("inference", WINDOWED, WINDOWED.length, 1, precision)
        yield f"{name}, base size with windows", case


def case_of_length(work: str, sizes: Sizes, length: int, tokens: int, precision: str) -> tuple[str, Case]:
    """Returns name and case of one batch of sequences of a length."""
    batch = drawn(sizes.vocabulary, length, tokens)
    sizes = replace(sizes, length=length)
    case = Case(work, [batch], sizes, length, precision, apart(measure_backend, sizes, precision))
    return f"{work}, {length:,} tokens each", case


def drawn(vocabulary: int, length: int, tokens: int) -> Documents:
    """Returns a batch of so many tokens in sequences of a length, or one of them: the same whatever else is
    measured."""
    rng = np.random.default_rng(0)
    return [masked(rng.integers(5, vocabulary, length), rng) for _ in range(max(1, tokens // length))]


def weight(case: Case) -> int:
    """Returns how many shares of the time a case gets: to compile a training step takes the longest."""
    return 3 if case.work == "training" or case.sizes.local_attention else 2


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


def run(case: Case, peers: list[str], pace: Pace, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was measured of a case."""
    together = contestants(case, peers, arguments.settings)
    if case.work == "training" and case.length == min(arguments.lengths, default=0) and not arguments.positions:
        together = [*together, (WITHOUT_POSITIONS, OURS_RUNS)]  # what RoPE costs
    return measured(together, case, pace, OPERATIONS if arguments.profile else 0)


def contestants(case: Case, peers: list[str], settings: list[str]) -> Contestants:
    """Returns ours, and each peer in each setting, for ours in the only one it has."""
    if case.sizes.local_attention:
        peers = [MODERNBERT]  # nobody else has windows
    together = [(OURS, OURS_RUNS)]
    for name in peers:
        if name in ENCODINGS:
            together.append((name, OURS_RUNS))
            continue
        for setting in settings:
            variant = SETTINGS[setting]
            together.append((name, replace(variant, by_length=case.length is None and setting != "plain")))
    return together


if __name__ == "__main__":
    main()
