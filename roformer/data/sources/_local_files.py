"""Finds the files of a local corpus, their splits and their contents' hashes.

Supported:
    * a file: .parquet .jsonl .json .csv .tsv (one document per row), .txt (documents separated by blank lines);
    * a folder, searched recursively: its tables; or, if it has none, its .txt files, one document each, except files
      named train*, validation* or test*, which hold a whole split with documents separated by blank lines.
Inside a folder, files or subfolders named train*, validation* (valid*, val*, dev*) or test* assign the split.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from roformer.data.sources._tables import READERS
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents
_SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
_COMPRESSED = (".bz2", ".gz", ".xz", ".zip", ".zst")
_SPLITS = {"train": "train", "test": "test"}  # every other name means validation


def split_named(name: str) -> str | None:
    """Returns the split that a file or folder name begins with ("dev-00001.csv" -> "validation"), or None."""
    match = _SPLIT_NAME.match(name)
    return _SPLITS.get(match[1].lower(), "validation") if match else None


@dataclass(frozen=True)
class LocalFile:
    """A file of a corpus.

    Attributes:
        path: its location.
        parts: folders and file name, relative to the corpus folder.
        split: the split that its name or a parent folder assigns; None if neither does.
        separated: whether blank lines separate documents (.txt files only).
    """

    path: Path
    parts: tuple[str, ...]
    split: str | None
    separated: bool

    @property
    def is_text(self) -> bool:
        return self.path.suffix.lower() == ".txt"

    def text_documents(self) -> Iterator[str]:
        """Yields the documents of a .txt file.

        Raises:
            UserError: if the file is not UTF-8.
        """
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path} is not UTF-8 text: {error.reason} at byte {error.start} (convert it)"
            ) from error
        for document in re.split(r"\n[^\S\n]*\n", text) if self.separated else [text]:
            if document.strip():
                yield document.strip()


def find_files(path: str) -> list[LocalFile]:
    """Lists the tables, or else the .txt files, at or below ``path``, sorted by relative path.

    Raises:
        UserError: if there is no such path, or no supported file.
    """
    root = Path(path).expanduser()
    supported = ", ".join([*READERS, ".txt"])
    if root.is_file():
        if root.suffix.lower() not in {*READERS, ".txt"}:
            unpack = "; unpack it" if root.suffix in _COMPRESSED else ""
            raise UserError(f"data.path={path} has an unsupported file type{unpack} (supported: {supported})")
        return [LocalFile(root, (root.name,), split=None, separated=True)]
    if not root.is_dir():
        found = "is neither a file nor a folder" if root.exists() else "does not exist"
        raise UserError(f"data.path={path} {found} (give a file or a folder; relative to {Path.cwd()})")
    relative = [parts for parts in _walk(root) if not _is_hidden(parts)]
    tables = [parts for parts in relative if Path(parts[-1]).suffix.lower() in READERS]
    chosen = tables or [parts for parts in relative if parts[-1].lower().endswith(".txt")]
    if not chosen:
        found = "".join(f"; it has {count:,} {kind}" for kind, count in unread_files(path, []).items())
        raise UserError(f"no supported file in the folder data.path={path}{found} (supported: {supported})")
    return [
        LocalFile(
            root.joinpath(*parts),
            parts,
            split=next((split for split in map(split_named, parts) if split), None),
            separated=split_named(parts[-1]) is not None,
        )
        for parts in chosen
    ]


def unread_files(path: str, chosen: Iterable[LocalFile]) -> Counter[str]:
    """Counts the files at or below ``path`` that may hold documents, too, and are not among the chosen ones: hidden
    and compressed tables and texts, and texts next to tables."""
    root, suffixes = Path(path).expanduser(), {*READERS, ".txt"}
    if root.is_file():
        return Counter()
    read = {file.parts for file in chosen}
    left = (Path(*parts) for parts in _walk(root) if parts not in read)
    kinds = ("".join(file.suffixes[-2:]) if file.suffix in _COMPRESSED else file.suffix for file in left)
    return Counter(f"{kind} files" for kind in kinds if suffixes & set(Path(f"x{kind.lower()}").suffixes))


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts)


def _walk(root: Path) -> list[tuple[str, ...]]:
    """Returns the parts of the path of each file below a folder, sorted.

    Raises:
        UserError: if a folder cannot be read; its documents would be missing.
    """

    def refuse(error: OSError) -> None:
        if not _is_hidden(Path(error.filename).relative_to(root).parts):
            raise UserError(f"cannot read the folder {error.filename}: {error.strerror}; change its permissions")

    walked = (Path(folder, name) for folder, _, names in os.walk(root, onerror=refuse) for name in names)
    return sorted(file.relative_to(root).parts for file in walked if file.is_file())


def files_key(files: Iterable[tuple[str, Path]]) -> list[list[object]]:
    """Returns [name, size in bytes, sha256] of each (name, file): the key of a version of the corpus."""
    key: list[list[object]] = []
    for name, path in files:
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as handle:
            while block := handle.read(2**20):
                digest.update(block)
                size += len(block)
        key.append([name, size, digest.hexdigest()])
    return key


def local_files_key(files: Iterable[LocalFile]) -> list[list[object]]:
    """Returns the ``files_key`` of files that ``find_files`` returned."""
    return files_key(("/".join(file.parts), file.path) for file in files)
