"""Reads rows of chosen columns from .parquet, .jsonl, .json, .csv and .tsv files; no network."""

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from roformer.errors import UserError, one_line
from roformer.registry import did_you_mean

Row = dict[str, Any]
_OTHER_SEPARATOR = re.compile(r"[;\t|,]")
_BATCH = 1000  # rows held at once


def check_columns(where: str, required: Sequence[str], present: Iterable[str]) -> None:
    """Raises UserError, with the nearest name, for the first of ``required`` that is not in ``present``."""
    known = sorted(map(str, present))
    for column in required:
        if column not in known:
            hint = did_you_mean(column, known)
            raise UserError(
                f"{where} has no column '{column}'{hint} (columns: {_listed(known)}; the first line of a table "
                "holds them; change the data setting that names the column)"
            )


def _listed(names: Sequence[str]) -> str:
    """Returns the names on one line: a header that is missing makes the first document one of them."""
    short = [" ".join(name[:40].split()) + ("..." if len(name) > 40 else "") for name in names[:20]]
    return ", ".join([*short, *([f"and {len(names) - 20:,} more"] if len(names) > 20 else [])]) or "none"


def cell_text(value: Any, where: str) -> str | None:
    """Returns the text of a cell, or None if it is null or blank; raises UserError if it is not text."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise UserError(f"{where} contains {type(value).__name__} instead of text: {str(value)[:60]!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where} contains half of a character, {value[error.start]!a}, at {error.start}; replace it"
        ) from error
    return value if value.strip() else None


def cell_label(value: Any, where: str) -> str | None:
    """Returns the label in a cell, or None if it is null; raises UserError if it is neither text nor a number."""
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise UserError(f"{where} contains {type(value).__name__} instead of a label: {str(value)[:60]!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} contains {value} instead of a label; give those rows a label, or null")
    return str(value)


def columns_of(setting: str | list[str]) -> list[str]:
    """Returns the columns in a setting that names one column or a list of them.

    Raises:
        UserError: if it names none.
    """
    if not setting:
        raise UserError("data.text_column is empty; name one column, or several as [first,second]")
    return [setting] if isinstance(setting, str) else list(setting)


def row_texts(row: Row, columns: Sequence[str], where: str) -> tuple[str, ...] | None:
    """Returns the texts in these columns of a row, or None if one of them is null or blank."""
    texts = tuple(cell_text(row[column], f"{where}, column '{column}'") for column in columns)
    return None if None in texts else cast(tuple[str, ...], texts)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yields {column: value} for every row of ``path``; a missing value is None.

    Raises:
        UserError: if a column is missing, or the content does not match the file's suffix.
    """
    try:
        yield from READERS[path.suffix.lower()](path, columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start} (convert it)") from error


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        # pre_buffer would keep all column data in memory until the end of the file
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            check_columns(str(path), columns, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable parquet file: {one_line(error)}") from error


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    first = True
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _pick(f"{path}, line {number}", _parsed(line.rstrip(), path, number), columns, check=first)
                first = False


def _json(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Reads a list of objects, or one object per line as the hub writes it."""
    with path.open(encoding="utf-8-sig") as file:
        head = file.read(100).lstrip()
    if not head.startswith("["):
        yield from _json_lines(path, columns)
        return
    for number, row in enumerate(_parsed(path.read_text(encoding="utf-8-sig"), path, 1)):
        yield _pick(f"{path}, item {number}", row, columns, check=number == 0)


def _parsed(text: str, path: Path, line: int) -> Any:
    """Returns what a JSON text holds that begins at this line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        raise UserError(f"{path}, line {line} is not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of brackets
        raise UserError(f"{path}, line {line} cannot be read: {one_line(error)}") from error


def _pick(where: str, row: Any, columns: Sequence[str], *, check: bool) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{where} is a {type(row).__name__}; each row must be an object such as {{'text': '...'}}")
    if check:  # in later rows a missing key is a null
        check_columns(where, columns, row)
    return {column: row.get(column) for column in columns}


def _separated(separator: str) -> Callable[[Path, Sequence[str]], Iterator[Row]]:
    def read(path: Path, columns: Sequence[str]) -> Iterator[Row]:
        csv.field_size_limit(sys.maxsize)  # a document may be a book
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=separator, strict=True)
            try:
                header = next(rows, [])
                if columns[0] not in header and len(header) == 1 and (other := _OTHER_SEPARATOR.search(header[0])):
                    raise UserError(
                        f"{path} has one column, '{header[0][:60]}': its separator seems to be {other[0]!r}; save it "
                        f"with {separator!r}"
                    )
                check_columns(str(path), columns, header)
                if twice := [column for column in columns if header.count(column) > 1]:
                    raise UserError(f"{path} has two columns named '{twice[0]}'; rename one of them")
                places = [header.index(column) for column in columns]
                for row in filter(None, rows):  # a blank line is no row
                    if len(row) != len(header):
                        remedy = (
                            "put texts that contain the separator in double quotes"
                            if len(row) > len(header)
                            else "add what is missing, an empty field at least"
                        )
                        raise UserError(
                            f"{path}, line {rows.line_num}: {len(row)} instead of {len(header)} fields; {remedy}"
                        )
                    yield {column: row[place] or None for column, place in zip(columns, places, strict=True)}
            except csv.Error as error:
                raise UserError(f"{path}, line {rows.line_num} is not readable: {one_line(error)}") from error

    return read


READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
}
"""Suffix -> reader."""
