"""Reads the rows of JSON files: one object per line, a list of objects, or objects one after the other."""

import json
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from roformer.data.sources._columns import Columns, Row, check_columns, with_fields
from roformer.data.sources._opening import TextFormat, open_text
from roformer.errors import UserError, one_line


def read_json_lines(path: Path, columns: Columns, form: TextFormat) -> Iterator[Row]:
    """Yields {column: value} of each line, an object; ``column`` may be ``object.field``."""
    first = True
    with open_text(path, form) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = _parsed(line.rstrip(), path, number, columns)
                yield _pick(f"{path}, line {number}", row, columns, check=first)
                first = False


def read_json(path: Path, columns: Columns, form: TextFormat) -> Iterator[Row]:
    """Yields {column: value} of each object in a list; without a list, of each object in the file."""
    with open_text(path, form) as file:
        start = next((line for line in file if line.strip()), "").strip()
    if not start.startswith("[") and _is_json(start):
        yield from read_json_lines(path, columns, form)  # does not hold the whole file in memory
        return
    with open_text(path, form) as file:
        text = file.read()
    rows = _parsed(text, path, 1, columns) if start.startswith("[") else _one_after_the_other(text, path, columns)
    for number, row in enumerate(rows):
        yield _pick(f"{path}, item {number}", row, columns, check=number == 0)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _one_after_the_other(text: str, path: Path, columns: Columns) -> Iterator[Any]:
    """Yields the JSON values of a text, which may span several lines each."""
    decoder, place = json.JSONDecoder(object_pairs_hook=partial(_object, _names(columns))), 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        with _naming(path, 1):
            value, place = decoder.raw_decode(text, place)
        yield value


def _parsed(text: str, path: Path, line: int, columns: Columns) -> Any:
    """Returns what a JSON text holds that begins at this line of a file."""
    names = _names(columns)
    twice = any(text.count(f'"{name}"') > 1 for name in names)  # the hook takes as long as parsing
    with _naming(path, line):
        return json.loads(text, object_pairs_hook=partial(_object, names) if twice else None)


def _names(columns: Columns) -> set[str]:
    """Returns the keys that columns such as ``translation.en`` may stand for."""
    return {name for column in columns or () for name in (column, *column.split("."))}


@contextmanager
def _naming(path: Path, line: int) -> Iterator[None]:
    """Names file and line of what cannot be read."""
    try:
        yield
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        raise UserError(f"{path}, line {line} is not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of brackets
        raise UserError(f"{path}, line {line} cannot be read: {one_line(error)}") from error


def _object(requested: Set[str], pairs: list[tuple[str, Any]]) -> Row:
    """Returns a JSON object; raises ValueError if it has a requested key twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        counts = Counter(name for name, _ in pairs if name in requested)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"it has '{twice[0]}' twice")
    return row


def _pick(where: str, row: Any, columns: Columns, *, check: bool) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{where} is a {type(row).__name__}; each row must be an object such as {{'text': '...'}}")
    if columns is None:
        return row
    row = with_fields(row, columns)
    if check:  # in later rows a missing key is a null
        check_columns(where, columns, row)
    return {column: row.get(column) for column in columns}
