"""Your own labeled text: a table with a label column, or a folder of .txt files per class."""

from collections.abc import Iterator
from dataclasses import replace

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document
from roformer.data.sources._columns import cell_label, columns_of, row_texts
from roformer.data.sources._local_files import CACHE_VERSION, LocalFile, find_files, local_files_key
from roformer.data.sources._local_source import LocalSource
from roformer.data.sources._opening import TextFormat
from roformer.data.sources._split_names import split_named
from roformer.errors import UserError

_UNLABELED = "unsup"  # the folder of aclImdb without labels


@SOURCES.register("labeled")
class LabeledSource(LocalSource):
    """Documents with a label each: a table with a label column, or a folder per class with .txt files in it.

    The class is the folder that holds the file: ``<path>/<class>/a.txt`` or ``<path>/<split>/<class>/a.txt``, as in
    the IMDb archive (whose unlabeled folder ``unsup`` is skipped); or the one above a folder named as a split,
    ``<path>/<class>/<split>/a.txt``. Rows without text or label are skipped.

    Args:
        path: a file, a folder, a pattern, or a list of them; ``_local_files`` lists the supported layouts.
        text_column: column (or JSON key) of the text, ``column.field`` for a field of an object; a list of columns if
            a document has several texts.
        label_column: column of the label. Folders per class need neither column.
        encoding, delimiter: as in ``TextFormat``.

    Raises:
        UserError: if there is no supported file, or .txt files lie outside of class folders; on reading, if a label is
            neither text nor a number, or some are text and others numbers.
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        text_column: str | list[str],
        label_column: str,
        encoding: str | None = None,
        delimiter: str | None = None,
    ) -> None:
        self.path, self.text_columns, self.label_column = path, columns_of(text_column), label_column
        self.form, self.corpus = TextFormat(encoding, delimiter), find_files(path)
        found = [replace(file, sample_by="document") for file in self.corpus.files]
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
        above = [["class above split"]] if any(map(_class_is_above, self.files)) else []
        # the old name of this source; changing it would orphan the caches and runs of its time
        key = ("labelled", CACHE_VERSION, local_files_key(self.files), columns, self.label_column)
        return content_key(*key, *self.form.key(), *above)

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
            yield from (((text,), label) for text in file.text_documents(self.form))
            return
        kind = None
        for number, row in enumerate(file.rows([*self.text_columns, self.label_column], self.form), 1):
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
    return folders[-2] if _class_is_above(file) else folders[-1]


def _class_is_above(file: LocalFile) -> bool:
    """Whether a .txt file lies in ``<class>/<split>/``."""
    folders = file.parts[:-1]
    return file.is_text and len(folders) > 1 and bool(split_named(folders[-1])) and not split_named(folders[0])


def _class_named_as_split(files: list[LocalFile]) -> str | None:
    """Returns a folder that is taken for a split, and seems to be a class: it has .txt files of its own among folders
    that are classes, or folders that are splits."""
    texts = [file for file in files if file.is_text]
    if any(map(_class_is_above, texts)):
        return next((file.parts[0] for file in texts if split_named(file.parts[0]) and len(file.parts) > 1), None)
    classes = [file for file in texts if _folder_label(file)]
    if any(len(file.parts) > 2 for file in classes):
        return None  # as in the IMDb archive, whose split folders have lists of addresses
    return next((file.parts[0] for file in texts if len(file.parts) == 2 and split_named(file.parts[0])), None)
