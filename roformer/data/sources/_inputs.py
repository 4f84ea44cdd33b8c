"""Reads texts without labels, one input per line or row: what a trained model is asked about."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roformer.data.sources._columns import cell_text, columns_of
from roformer.data.sources._opening import USUAL, TextFormat, open_text, suffix_of
from roformer.data.sources._tables import READERS, is_table, read_rows
from roformer.data.sources.glue import GLUE
from roformer.data.sources.questions import QUESTION_COLUMNS, squad
from roformer.data.words import joined
from roformer.errors import UserError

STDIN = "-"


def text_columns(data: Mapping[str, Any]) -> list[str]:
    """Returns the columns from which data settings read the texts of a document; ``text`` where they name none."""
    if data["name"] == "glue":
        return list(GLUE[data["glue_task"]].columns)
    if data["name"] == "questions":
        return list(QUESTION_COLUMNS)
    return columns_of(data.get("text_column") or "text")


def read_inputs(path: str, columns: Sequence[str], form: TextFormat = USUAL) -> Iterator[tuple[str, ...]]:
    """Yields the texts of each input, in order: of every row of a table, or the only one of every line. What is null
    or blank is an empty text. A list of words is the text that they make.

    Args:
        path: a table or a .txt file, compressed or not, or "-" for standard input.
        columns: of a table.
        form: encoding and delimiter of text files; of standard input an encoding in which line breaks are one byte.

    Raises:
        UserError: if there is no such file, it is of another type, lacks a column, or has another encoding.
    """
    if path == STDIN:
        yield from _lines(sys.stdin.buffer, "standard input", form)
        return
    file = Path(path).expanduser()
    if not file.is_file():
        found = "is no file" if file.exists() else "does not exist"
        raise UserError(f"{path} {found} (give a file, relative to {Path.cwd()}, or - for standard input)")
    if is_table(file):
        rows = squad(file, form) if tuple(columns) == QUESTION_COLUMNS else None
        for number, row in enumerate(rows or read_rows(file, columns, form), 1):
            cells = (cell_text(_text(row[column]), f"{file}, row {number}, column '{column}'") for column in columns)
            yield tuple(cell or "" for cell in cells)
    elif suffix_of(file) == ".txt":
        with open_text(file, form) as lines:
            yield from (_input(line) for line in lines)
    else:
        supported = ", ".join([".txt", *READERS])
        raise UserError(f"{path} has an unsupported file type (supported: {supported}, or - for standard input)")


def _text(cell: Any) -> Any:
    return joined(cell)[0] if isinstance(cell, list) and all(isinstance(word, str) for word in cell) else cell


def _input(line: str) -> tuple[str, ...]:
    text = line.rstrip("\r\n")
    return (text if text.strip() else "",)


def _lines(lines: Iterable[bytes], where: str, form: TextFormat) -> Iterator[tuple[str, ...]]:
    encoding = form.encoding or "utf-8"
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode(encoding).removeprefix("\ufeff" if number == 1 else "")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where}, line {number} is not {encoding.upper()} text: {error.reason} at byte {error.start} "
                f"(convert it, or set {form.prefix}encoding, such as gb18030 for Chinese, or latin-1)"
            ) from error
        yield _input(text)
