"""Reads rows of chosen columns from the supported tables by their file endings; no network."""

from collections.abc import Callable, Iterator
from pathlib import Path

from roformer.data.sources._arrow import read_arrow, read_parquet
from roformer.data.sources._columns import Columns, Row
from roformer.data.sources._delimited import read_delimited
from roformer.data.sources._json_rows import read_json, read_json_lines
from roformer.data.sources._opening import USUAL, TextFormat, suffix_of

READERS: dict[str, Callable[[Path, Columns, TextFormat], Iterator[Row]]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
}
"""Suffix -> reader."""

_BINARY = {".parquet", ".arrow"}  # have a compression of their own


def is_table(path: Path) -> bool:
    """Whether a file is one of the supported tables, compressed or not, by its name."""
    return path.suffix.lower() in READERS or suffix_of(path) in READERS.keys() - _BINARY


def read_rows(path: Path, columns: Columns, form: TextFormat = USUAL) -> Iterator[Row]:
    """Yields {column: value} for every row of ``path``; a missing value is None.

    Args:
        path: a table.
        columns: which to read; ``column.field`` for a field of an object; None for all, but of .csv and .tsv.
        form: encoding and delimiter of text files.

    Raises:
        UserError: if a column is missing, or the content does not match the file's suffix.
    """
    return READERS[suffix_of(path)](path, columns, form)
