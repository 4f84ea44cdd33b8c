"""Where predictions go: rows of CSV or JSON lines, or an array of vectors. A file is whole or not there."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from roformer.cli import arguments
from roformer.data.npy import GrowingArray
from roformer.errors import UserError
from roformer.io import atomic_file

FORMATS = ("csv", "jsonl")
_DIGITS = 6  # significant ones of a number


class Writer(Protocol):
    """Appends what a model says about some documents."""

    def write(self, statements: Sequence[dict[str, Any]]) -> None: ...


class JsonLines:
    """One JSON object per document: {"label": "a", "probabilities": {"a": 0.9, "b": 0.1}}, or {"value": 2.5}."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, statements: Sequence[dict[str, Any]]) -> None:
        self.stream.writelines(json.dumps(_rounded(each), ensure_ascii=False) + "\n" for each in statements)


class Csv:
    """A header, then one row per document: a column per key, and ``probability_<class>`` of every class."""

    def __init__(self, stream: TextIO) -> None:
        self.rows = csv.writer(stream, lineterminator="\n")
        self.has_header = False

    def write(self, statements: Sequence[dict[str, Any]]) -> None:
        for statement in statements:
            row = {key: value for key, value in _rounded(statement).items() if key != "probabilities"}
            probabilities = _rounded(statement).get("probabilities", {})
            row |= {f"probability_{name}": value for name, value in probabilities.items()}
            if not self.has_header:
                self.rows.writerow(row)
                self.has_header = True
            self.rows.writerow(row.values())


@contextmanager
def rows(output: Path | None, form: str) -> Iterator[Writer]:
    """Yields the writer of a file, or of standard output.

    Args:
        output: the file; None for standard output.
        form: one of ``FORMATS``.
    """
    kind = Csv if form == "csv" else JsonLines
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        yield kind(sys.stdout)
        sys.stdout.flush()
        return
    with atomic_file(output) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        yield kind(stream)


@contextmanager
def vectors(output: Path, size: int) -> Iterator[GrowingArray]:
    """Yields an array of (documents, size) float32 that becomes an ``.npy`` file."""
    with atomic_file(output) as draft, draft.open("wb") as file:
        array = GrowingArray(file, np.dtype(np.float32), (size,))
        yield array
        array.finish()


def check_output(output: Path | None, *, overwrite: bool) -> None:
    """Raises ``UserError`` if a file cannot be written, or is there already and is not to be overwritten."""
    if output is not None:
        arguments.check_output(output)
        if output.exists() and not overwrite:
            raise UserError(f"--output={output} exists; give --overwrite, or another file")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
