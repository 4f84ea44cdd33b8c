"""Your own files: plain text, tables, or a folder per class.

What is read:
    * a file: .parquet .jsonl .json .csv .tsv (one document a row), .txt (documents separated by blank lines);
    * a folder, with everything below it: its tables; or, where it has none, its .txt files, one document each,
      except those named train*, validation* or test*, which hold a split and are separated by blank lines.
Below a folder, files or folders named train*, validation* (valid*, val*, dev*) or test* give the split.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from roformer.data._base import SOURCES, Document, Source
from roformer.data.cache import content_key
from roformer.data.tables import READERS, cell_text, columns_of, read_rows, row_texts
from roformer.errors import UserError

FORMAT = 1  # raise it when the same files would yield other documents
_SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
_SPLITS = {"train": "train", "test": "test"}  # every other name means validation
_UNLABELLED = "unsup"  # the folder of aclImdb that has no class


def split_named(name: str) -> str | None:
    """Returns the split that a file or folder name begins with: "dev-00001.csv" -> "validation"; None if none."""
    match = _SPLIT_NAME.match(name)
    return _SPLITS.get(match[1].lower(), "validation") if match else None


@dataclass(frozen=True)
class LocalFile:
    """A file of a corpus.

    Attributes:
        path: where it is.
        parts: folders and name below the corpus folder.
        split: what its name, or that of a folder, says; None where neither says anything.
        separated: whether blank lines end a document (in a .txt file only).
    """

    path: Path
    parts: tuple[str, ...]
    split: str | None
    separated: bool

    @property
    def is_text(self) -> bool:
        return self.path.suffix.lower() == ".txt"


def find_files(path: str) -> list[LocalFile]:
    """Lists the tables, or else the .txt files, that ``path`` is or holds, sorted by their place below it.

    Raises:
        UserError: if there is no such path, or no supported file.
    """
    root = Path(path).expanduser()
    supported = ", ".join([*READERS, ".txt"])
    if root.is_file():
        if root.suffix.lower() not in {*READERS, ".txt"}:
            raise UserError(f"data.path={path} is not a file this can read (supported: {supported})")
        return [LocalFile(root, (root.name,), split=None, separated=True)]
    if not root.is_dir():
        raise UserError(f"data.path={path} does not exist (give a file or a folder; relative to {Path.cwd()})")
    relative = sorted(file.relative_to(root).parts for file in root.rglob("*") if file.is_file())
    relative = [parts for parts in relative if not any(part.startswith(".") for part in parts)]
    tables = [parts for parts in relative if Path(parts[-1]).suffix.lower() in READERS]
    chosen = tables or [parts for parts in relative if parts[-1].lower().endswith(".txt")]
    if not chosen:
        raise UserError(f"no supported file in the folder data.path={path} (supported: {supported})")
    return [
        LocalFile(
            root.joinpath(*parts),
            parts,
            split=next((split for split in map(split_named, parts) if split), None),
            separated=split_named(parts[-1]) is not None,
        )
        for parts in chosen
    ]


def files_key(files: Iterable[tuple[str, Path]]) -> list[list[object]]:
    """Returns [name, bytes, sha256] of each (name, file), which tells two versions of a corpus apart."""
    key: list[list[object]] = []
    for name, path in files:
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as handle:
            while block := handle.read(2**20):
                digest.update(block)
                size += len(block)
        key.append([name, size, digest.hexdigest()])
    return key


def _local_key(files: list[LocalFile]) -> list[list[object]]:
    return files_key(("/".join(file.parts), file.path) for file in files)


@SOURCES.register("text")
class TextSource(Source):
    """Unlabelled documents from local files.

    Args:
        path: a file or a folder; see the top of this module.
        text_column: the column (or JSON key) of the text; .txt files do not need it.
    """

    def __init__(self, *, path: str, text_column: str) -> None:
        self.path, self.text_column = path, text_column
        self.files = find_files(path)

    def fingerprint(self) -> str:
        return content_key("text", FORMAT, _local_key(self.files), self.text_column)

    def provided_splits(self) -> frozenset[str]:
        return frozenset(file.split for file in self.files if file.split)

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for text in self._texts(file):
                empty = False
                yield Document(text, split=file.split)
        if empty:
            raise UserError(f"no documents in data.path={self.path}: there is no text in it")

    def _texts(self, file: LocalFile) -> Iterator[str]:
        if file.is_text:
            yield from _text_file(file.path, separated=file.separated)
            return
        for row in read_rows(file.path, [self.text_column]):
            text = cell_text(row[self.text_column], f"{file.path}, column '{self.text_column}'")
            if text is not None:
                yield text


@SOURCES.register("labelled")
class LabelledSource(Source):
    """Documents with a class each: a table with a label column, or a folder per class with .txt files in it.

    The class is the folder that holds the file: ``<path>/<class>/a.txt`` or ``<path>/<split>/<class>/a.txt``, as in
    the IMDb archive (whose unlabelled folder ``unsup`` is left out). Rows without text or label are left out.

    Args:
        path: a table or a folder; see the top of this module.
        text_column: column (or JSON key) of the text; several where a document is a pair or more of texts.
        label_column: column of the class. A folder per class needs neither.
    """

    def __init__(self, *, path: str, text_column: str | list[str], label_column: str) -> None:
        self.path, self.text_columns, self.label_column = path, columns_of(text_column), label_column
        self.files = [file for file in find_files(path) if not file.is_text or _folder_label(file)]
        if not self.files:
            raise UserError(
                f"data.path={path} has .txt files but no folder per class (make it <class>/a.txt or "
                "<split>/<class>/a.txt, or give a table with a label column)"
            )

    def fingerprint(self) -> str:
        columns = self.text_columns[0] if len(self.text_columns) == 1 else self.text_columns
        return content_key("labelled", FORMAT, _local_key(self.files), columns, self.label_column)

    def provided_splits(self) -> frozenset[str]:
        return frozenset(file.split for file in self.files if file.split)

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for (text, *further), label in self._pairs(file):
                empty = False
                yield Document(text, label, file.split, tuple(further))
        if empty:
            raise UserError(f"no documents in data.path={self.path}: no row has both a text and a label")

    def _pairs(self, file: LocalFile) -> Iterator[tuple[tuple[str, ...], str]]:
        if file.is_text:
            label = _folder_label(file)
            assert label is not None
            yield from (((text,), label) for text in _text_file(file.path, separated=False))
            return
        for row in read_rows(file.path, [*self.text_columns, self.label_column]):
            texts = row_texts(row, self.text_columns, str(file.path))
            if texts is not None and row[self.label_column] is not None:
                yield texts, str(row[self.label_column])


def _folder_label(file: LocalFile) -> str | None:
    """The class of a .txt file: the folder it lies in, unless that folder is the corpus, a split, or unlabelled."""
    folders = file.parts[:-1]
    if not folders or folders[-1] == _UNLABELLED or (len(folders) == 1 and split_named(folders[0])):
        return None
    return folders[-1]


def _text_file(path: Path, *, separated: bool) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start} (convert it)") from error
    for document in re.split(r"\n[^\S\n]*\n", text) if separated else [text]:
        if document.strip():
            yield document.strip()
