"""Your own labeled text: a table with a label column, or a folder of .txt files per class."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._local_files import (
    CACHE_VERSION,
    LocalFile,
    find_files,
    local_files_key,
    split_named,
    unread_files,
)
from roformer.data.sources._tables import cell_label, columns_of, read_rows, row_texts
from roformer.errors import UserError

_UNLABELED = "unsup"  # the folder of aclImdb without labels


@SOURCES.register("labeled")
class LabeledSource(Source):
    """Documents with a label each: a table with a label column, or a folder per class with .txt files in it.

    The class is the folder that holds the file: ``<path>/<class>/a.txt`` or ``<path>/<split>/<class>/a.txt``, as in
    the IMDb archive (whose unlabeled folder ``unsup`` is skipped). Rows without text or label are skipped.

    Args:
        path: a file or a folder; ``_local_files`` lists the supported layouts.
        text_column: column (or JSON key) of the text; a list of columns if a document has several texts.
        label_column: column of the label. Folders per class need neither column.

    Raises:
        UserError: if there is no supported file, or .txt files lie outside of class folders; on reading, if a label is
            neither text nor a number, or some are text and others numbers.
    """

    def __init__(self, *, path: str, text_column: str | list[str], label_column: str) -> None:
        self.path, self.text_columns, self.label_column = path, columns_of(text_column), label_column
        found = [replace(file, separated=False) for file in find_files(path)]  # a .txt file is one document
        self.files = [file for file in found if not file.is_text or _folder_label(file)]
        if not self.files:
            raise UserError(
                f"data.path={path} has .txt files but no folder per class (use <class>/a.txt, "
                "<split>/<class>/a.txt, or a table with a label column)"
            )
        if split := _class_named_as_split(found):
            raise UserError(
                f"data.path={path}: the folder '{split}' was taken for a split, since its name begins like one; "
                "rename it if it is a class"
            )

    def fingerprint(self) -> str:
        columns = self.text_columns[0] if len(self.text_columns) == 1 else self.text_columns
        # the old name of this source; changing it would orphan the caches and runs of its time
        return content_key("labelled", CACHE_VERSION, local_files_key(self.files), columns, self.label_column)

    def provided_splits(self) -> frozenset[str]:
        return frozenset(file.split for file in self.files if file.split)

    def unread_files(self) -> Counter[str]:
        return unread_files(self.path, self.files)

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for (text, *extra_texts), label in self._labeled_texts(file):
                empty = False
                yield Document(text, label, file.split, tuple(extra_texts))
        if empty:
            raise UserError(f"no documents in data.path={self.path}: no row has both a text and a label")

    def _labeled_texts(self, file: LocalFile) -> Iterator[tuple[tuple[str, ...], str]]:
        if file.is_text:
            label = _folder_label(file)
            assert label is not None
            yield from (((text,), label) for text in file.text_documents())
            return
        kind = None
        for number, row in enumerate(read_rows(file.path, [*self.text_columns, self.label_column]), 1):
            where = f"{file.path}, row {number}, column '{self.label_column}'"
            texts = row_texts(row, self.text_columns, str(file.path))
            given = row[self.label_column]
            if texts is None or (label := cell_label(given, where)) is None:
                self.skipped["rows without text or label"] += 1
                continue
            kind = kind or _kind(given)
            if (own := _kind(given)) != kind:
                raise UserError(f"{where}: the label {label} is {own}, earlier ones are each {kind}; use one type")
            yield texts, label


def _kind(label: str | float) -> str:
    """Returns in words what the type of a label is."""
    if isinstance(label, bool):
        return "true or false"
    return "a text" if isinstance(label, str) else "a number"


def _folder_label(file: LocalFile) -> str | None:
    """Returns the folder of a .txt file as its class; None for the corpus folder, a split folder or ``unsup``."""
    folders = file.parts[:-1]
    if not folders or folders[-1] == _UNLABELED or (len(folders) == 1 and split_named(folders[0])):
        return None
    return folders[-1]


def _class_named_as_split(files: list[LocalFile]) -> str | None:
    """Returns a folder that is taken for a split and has .txt files of its own, among folders that are classes."""
    texts = [file for file in files if file.is_text]
    classes = [file for file in texts if _folder_label(file)]
    if any(len(file.parts) > 2 for file in classes):
        return None  # as in the IMDb archive, whose split folders have lists of addresses
    return next((file.parts[0] for file in texts if len(file.parts) == 2 and split_named(file.parts[0])), None)
