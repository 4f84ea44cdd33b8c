"""Reads the rows of .parquet files, and of the .arrow files that ``datasets.save_to_disk`` writes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roformer.data.sources._columns import Columns, Row, check_columns, outer_column, with_fields
from roformer.data.sources._opening import TextFormat, refuse_pointer
from roformer.errors import UserError, one_line

_BATCH = 1000  # rows held at once


def read_parquet(path: Path, columns: Columns, form: TextFormat) -> Iterator[Row]:
    """Yields {column: value} of each row; ``column`` may be ``object.field``."""
    import pyarrow
    import pyarrow.parquet

    _check_pointer(path)
    try:
        # pre_buffer would keep all column data in memory until the end of the file
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            outer = _outer(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BATCH, columns=outer):
                yield from _rows(path, columns, batch)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable parquet file: {one_line(error)}") from error


def read_arrow(path: Path, columns: Columns, form: TextFormat) -> Iterator[Row]:
    """Yields {column: value} of each row of a stream of record batches."""
    import pyarrow

    _check_pointer(path)
    try:
        with pyarrow.OSFile(str(path)) as file, pyarrow.ipc.open_stream(file) as batches:
            outer = _outer(path, columns, batches.schema.names)
            for batch in batches:
                chosen = batch.select(outer)
                chosen.validate(full=True)  # damaged offsets would end the process
                for start in range(0, len(chosen), _BATCH):
                    yield from _rows(path, columns, chosen.slice(start, _BATCH))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:  # KeyError: of an unknown type
        raise UserError(f"{path} is not a file of datasets.save_to_disk: {one_line(error)}") from error


def _check_pointer(path: Path) -> None:
    with path.open("rb") as file:
        refuse_pointer(path, file.read(64))


def _outer(path: Path, columns: Columns, present: Sequence[str]) -> list[str]:
    """Returns the columns to read, some of which contain the requested ones."""
    if columns is None:
        return list(present)
    outer = {column: outer_column(column, present) for column in columns}
    missing = [column for column, holder in outer.items() if holder not in present]
    check_columns(str(path), missing or list(outer.values()), present)
    return list(dict.fromkeys(outer.values()))


def _rows(path: Path, columns: Columns, batch: Any) -> Iterator[Row]:
    if columns is None:
        yield from batch.to_pylist()
        return
    for number, row in enumerate(batch.to_pylist()):
        found = with_fields(row, columns)
        if number == 0:  # all rows have the same fields
            check_columns(str(path), columns, found)
        yield {column: found[column] for column in columns}
