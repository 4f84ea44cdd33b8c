"""The columns of a row: which there are, and what they may hold."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from roformer.errors import UserError
from roformer.registry import did_you_mean

Row = dict[str, Any]
Columns: TypeAlias = Sequence[str] | None


def check_columns(where: str, required: Sequence[str], present: Iterable[str]) -> None:
    """Raises UserError for the first of ``required`` that is missing, with the nearest name, or is there twice."""
    names = list(map(str, present))
    known = sorted(names)
    for column in required:
        if column not in known:
            hint = did_you_mean(column, known)
            raise UserError(
                f"{where} has no column '{column}'{hint} (columns: {_listed(known)}; the first line of a .csv or "
                ".tsv holds them; rename one, or change the setting that names it)"
            )
        if names.count(column) > 1:
            raise UserError(f"{where} has two columns named '{column}'; rename one of them")


def _listed(names: Sequence[str]) -> str:
    """Returns the names on one line: a header that is missing makes the first document one of them."""
    short = [" ".join(name[:40].split()) + ("..." if len(name) > 40 else "") for name in names[:20]]
    return ", ".join([*short, *([f"and {len(names) - 20:,} more"] if len(names) > 20 else [])]) or "none"


def outer_column(column: str, present: Iterable[str]) -> str:
    """Returns the column that contains ``column``, which may name a field of an object: ``translation.en``."""
    return column if column in present else column.split(".")[0]


def with_fields(row: Row, columns: Sequence[str]) -> Row:
    """Returns the row with each requested ``column.field`` as a column of its own: None where its object is null."""
    for column in columns:
        if column not in row and "." in column:
            *path, field = column.split(".")
            holder: Any = row
            for name in path:
                holder = holder.get(name, {}) if isinstance(holder, dict) else holder
            if holder is None or (isinstance(holder, dict) and field in holder):
                row = {**row, column: holder and holder[field]}
    return row


def is_missing(value: Any) -> bool:
    """Whether a cell is null, NaN (which pandas writes for it) or blank."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def cell_text(value: Any, where: str) -> str | None:
    """Returns the text of a cell, or None if it is missing; raises UserError if it is not text."""
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise UserError(f"{where} contains {type(value).__name__} instead of text: {str(value)[:60]!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where} contains half of a character, {value[error.start]!a}, at {error.start}; replace it"
        ) from error
    return value


def cell_label(value: Any, where: str) -> str | None:
    """Returns the label in a cell, or None if it is missing; raises UserError if it is neither text nor a number."""
    if isinstance(value, str) or is_missing(value):
        return cell_text(value, where)
    if not isinstance(value, int | float):
        raise UserError(f"{where} contains {type(value).__name__} instead of a label: {str(value)[:60]!r}")
    if not math.isfinite(value):
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
