"""Reads the rows of .csv and .tsv files. In a .csv, double quotes enclose a field; in a .tsv they are text."""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roformer.data.sources._columns import Columns, Row, check_columns
from roformer.data.sources._opening import DELIMITERS, TextFormat, open_text, suffix_of
from roformer.errors import UserError, one_line

_OTHER_SEPARATOR = re.compile(r"[;\t|,]")
_QUOTED = re.compile(r'"(?=.*"".)(?:[^"]|"")*"', re.DOTALL)  # quotes around a field and, doubled, in it
_QUOTES_ARE_TEXT = "quotes are text in a .tsv; if they enclose fields, name the file .csv and set"


def read_delimited(path: Path, columns: Columns, form: TextFormat) -> Iterator[Row]:
    """Yields {column: text} of each row; an empty field is None. An empty file has no rows.

    Raises:
        UserError: if a column is missing or there twice, or a row has another number of fields than the header.
    """
    assert columns is not None  # a source that needs all of them reads no text files
    csv.field_size_limit(sys.maxsize)  # a document may be a book
    quotes = suffix_of(path) == ".csv"
    separator = form.separator("," if quotes else "\t")
    with open_text(path, form, newline="") as file:
        rows = csv.reader(
            file, delimiter=separator, strict=True, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        )
        try:
            header = next((row for row in rows if row), [])  # blank lines may come before it
            if header:
                _check_header(path, columns, header, form, quotes=quotes)
            places = [header.index(column) for column in columns if header]
            for row in filter(None, rows):  # a blank line is no row
                _check_fields(f"{path}, line {rows.line_num}", row, header, form, quotes=quotes)
                found = {column: row[place] or None for column, place in zip(columns, places, strict=True)}
                if not quotes and any(field and _QUOTED.fullmatch(field) for field in found.values()):
                    problem = f"has a text in quotes: {_QUOTES_ARE_TEXT} {form.prefix}delimiter=tab"
                    raise UserError(f"{path}, line {rows.line_num} {problem}")
                yield found
        except csv.Error as error:
            hint = "; in a .csv, write quotes within quotes twice" if "expected after" in str(error) else ""
            raise UserError(f"{path}, line {rows.line_num} is not readable: {one_line(error)}{hint}") from error


def _check_header(path: Path, columns: Sequence[str], header: list[str], form: TextFormat, *, quotes: bool) -> None:
    if header[0].startswith("sep="):
        raise UserError(f"{path} begins with the line '{header[0]}', which is for Excel; remove that line")
    if columns[0] not in header and len(header) == 1 and (other := _OTHER_SEPARATOR.search(header[0])):
        name = next(name for name, character in DELIMITERS.items() if character == other[0])
        separator = form.separator("," if quotes else "\t")
        raise UserError(
            f"{path} has one column, '{header[0][:60]}': its separator seems to be {other[0]!r}, not {separator!r}; "
            f"set {form.prefix}delimiter={name}"
        )
    if not quotes and any(f'"{column}"' in header for column in columns):
        raise UserError(f"{path} has its columns in quotes: {_QUOTES_ARE_TEXT} {form.prefix}delimiter=tab")
    check_columns(str(path), columns, header)


def _check_fields(where: str, row: list[str], header: list[Any], form: TextFormat, *, quotes: bool) -> None:
    if len(row) == len(header):
        return
    remedy = "add what is missing, an empty field at least"
    if len(row) > len(header):
        remedy = "put texts that contain the separator in double quotes"
    if not quotes:
        remedy = f"a text has no tab and no line break there, and {_QUOTES_ARE_TEXT} {form.prefix}delimiter=tab"
    raise UserError(f"{where}: {len(row)} instead of {len(header)} fields; {remedy}")
