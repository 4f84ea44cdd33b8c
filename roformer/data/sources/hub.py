"""Any dataset of the Hugging Face hub, or a local folder that ``datasets.load_dataset`` reads."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, SPLITS, Document, Source
from roformer.data.sources._columns import (
    Row,
    cell_label,
    check_columns,
    columns_of,
    outer_column,
    row_texts,
    with_fields,
)
from roformer.data.sources._local_files import files_key
from roformer.errors import UserError, one_line

CACHE_VERSION = 1  # raise it when the same rows would yield other documents
_SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


@SOURCES.register("hub")
@dataclass(kw_only=True, eq=False)
class HubSource(Source):
    """Rows of a hub dataset. Splits other than train, validation and test (such as "unsupervised") are skipped.

    Args:
        dataset: name on the hub, or a local folder.
        config_name: the dataset's configuration; null if it has only one.
        revision: branch, tag or commit; null for the newest. Only a commit pins the content.
        streaming: read over the network while iterating, instead of downloading everything first.
        text_column: column of the text, ``column.field`` for a field of an object; a list of columns if a document has
            several texts. Rows that lack one are skipped.
        label_column: column of the label; null for unlabeled text. Rows without a label (null or -1) are skipped.
        document_start: if each row is a line: regular expression that matches the first line of a document.
        rows_per_document: if each row is a sentence: number of consecutive rows joined into a document.
        characters_per_document: if rows are very long: length at which they are cut into documents.
        data_dir: folder of the dataset to read; null for all of it.
        splits: maps the dataset's split names to train, validation or test; null recognizes the usual names.

    Raises:
        UserError: if more than one way to join or cut rows is given, or one of them together with labels or several
            texts; on reading, if the dataset or a column does not exist.
    """

    dataset: str
    config_name: str | None
    revision: str | None
    streaming: bool
    text_column: str | list[str]
    label_column: str | None
    document_start: str | None
    rows_per_document: int | None
    characters_per_document: int | None = None
    data_dir: str | None = None
    splits: dict[str, str] | None = None

    def __post_init__(self) -> None:
        several = self.text_columns[1:] or None
        ways = (
            self.document_start,
            self.rows_per_document,
            self.characters_per_document,
            self.label_column or several,
        )
        if sum(setting is not None for setting in ways) > 1:
            raise UserError(
                "data.document_start, data.rows_per_document, data.characters_per_document, data.label_column and "
                "several data.text_column exclude one another; set all but one of them to null"
            )
        if self.characters_per_document is not None and self.characters_per_document < 1:
            raise UserError(f"data.characters_per_document must be at least 1, got {self.characters_per_document}")
        ours = list((self.splits or {}).values())
        if set(ours) - set(SPLITS) or len(set(ours)) < len(ours):
            raise UserError(
                f"data.splits must map each name to a different one of {', '.join(SPLITS)}, got {self.splits}"
            )
        try:
            re.compile(self.document_start or "")
        except re.error as error:
            raise UserError(
                f"data.document_start={self.document_start} is not a regular expression: {error}"
            ) from error

    @property
    def text_columns(self) -> list[str]:
        return columns_of(self.text_column)

    def fingerprint(self) -> str:
        root = Path(self.dataset)
        files = sorted((path.relative_to(root).as_posix(), path) for path in root.rglob("*") if path.is_file())
        which = [files_key(files) or self.dataset, self.config_name, self.revision]
        texts = self.text_columns[0] if len(self.text_columns) == 1 else self.text_columns
        columns = [texts, self.label_column, self.document_start, self.rows_per_document]
        columns += [x for x in (self.characters_per_document, self.data_dir) if x is not None]
        splits = [sorted(self.splits.items())] if self.splits else []
        return content_key("hub", CACHE_VERSION, which, [*columns, *splits])

    def provided_splits(self) -> frozenset[str]:
        return frozenset(self._loaded) - {"train"}

    def documents(self) -> Iterator[Document]:
        empty = True
        for split, rows in self._loaded.items():
            for (text, *extra_texts), label in self._texts(split, rows):
                empty = False
                yield Document(text, label, split, tuple(extra_texts))
        if empty:
            raise UserError(f"no documents in dataset '{self.dataset}': no row has both a text and a label")

    @cached_property
    def _loaded(self) -> Mapping[str, Any]:
        """The rows of each of ``SPLITS`` that exists, in that order."""
        import datasets

        try:
            loaded = datasets.load_dataset(
                self.dataset, self.config_name, data_dir=self.data_dir, revision=self.revision,
                streaming=self.streaming,
            )  # fmt: skip
        except Exception as error:  # load_dataset lets errors of every kind through, from HTTP to parsing
            raise UserError(
                f"cannot load dataset '{self.dataset}': {one_line(error)} (check the name and the network, or use "
                "data=docs, or data=text data.path=...)"
            ) from error
        names = self.splits or _SPLIT_NAMES
        ours = {names[name]: rows for name, rows in loaded.items() if name in names}
        if not ours:
            found = ", ".join(sorted(loaded))
            raise UserError(f"dataset '{self.dataset}' has no split named {', '.join(names)}: {found}")
        return {split: ours[split] for split in SPLITS if split in ours}

    def _texts(self, split: str, rows: Any) -> Iterator[tuple[tuple[str, ...], str | None]]:
        where = f"dataset '{self.dataset}', split {split}"
        columns = [*self.text_columns, *([self.label_column] if self.label_column else [])]
        names = _class_names(rows, self.label_column)
        found = self._with_text(_checked_rows(where, rows, columns), where)
        if self.label_column is not None:
            for texts, row in found:
                given = row[self.label_column]
                hidden = names and given == -1  # as a number, -1 is an ordinary label
                label = None if hidden else cell_label(given, f"{where}, column '{self.label_column}'")
                if label is None:
                    self.skipped["rows without a label"] += 1
                else:
                    yield texts, names[given] if names else label
            return
        documents = (texts for texts, _ in found)
        if self.document_start is not None:
            start = re.compile(self.document_start)
            documents = ((text,) for text in _joined_by_start((text for text, *_ in documents), start))
        elif self.rows_per_document is not None:
            count = self.rows_per_document
            documents = ((text,) for text in _joined_by_count((text for text, *_ in documents), count))
        elif self.characters_per_document is not None:
            size = self.characters_per_document
            documents = (
                (text[start : start + size],) for text, *_ in documents for start in range(0, len(text), size)
            )
        yield from ((texts, None) for texts in documents)

    def _with_text(self, rows: Iterable[Row], where: str) -> Iterator[tuple[tuple[str, ...], Row]]:
        for row in rows:
            if (texts := row_texts(row, self.text_columns, where)) is None:
                self.skipped["rows without text"] += 1
            else:
                yield texts, row


def _joined_by_start(texts: Iterator[str], start: re.Pattern[str]) -> Iterator[str]:
    lines: list[str] = []
    for text in texts:
        if start.search(text) and lines:
            yield "\n".join(lines)
            lines = []
        lines.append(text.strip())
    if lines:
        yield "\n".join(lines)


def _joined_by_count(texts: Iterator[str], count: int) -> Iterator[str]:
    while rows := list(islice(texts, count)):
        yield "\n".join(text.strip() for text in rows)


def _checked_rows(where: str, rows: Any, columns: list[str]) -> Iterator[Row]:
    if rows.column_names is not None:  # a stream may not know them before its first row
        outer = list(dict.fromkeys(outer_column(column, rows.column_names) for column in columns))
        check_columns(where, outer, rows.column_names)
        rows = rows.select_columns(outer)
    iterator: Iterator[Row] = (with_fields(row, columns) for row in rows)
    first = next(iterator, None)
    if first is not None:
        check_columns(where, columns, first)
        yield from chain([first], iterator)


def _class_names(rows: Any, label_column: str | None) -> list[str] | None:
    feature = (rows.features or {}).get(label_column) if label_column else None
    names = getattr(feature, "names", None)  # ClassLabel stores numbers and a list of their names
    return list(names) if names else None
