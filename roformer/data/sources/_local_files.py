"""Finds the files of a local corpus, their splits and their contents' hashes.

Supported:
    * a file: .parquet .arrow .jsonl .ndjson .json .csv .tsv (one document per row), .txt (documents separated by blank
      lines); all but the first two also compressed (.gz .bz2 .xz .zst);
    * a folder, searched recursively: its tables; or, if it has none, its .txt files, one document each, except files
      named as a split, which hold a whole split with documents separated by blank lines;
    * a pattern such as ``corpus/*.jsonl``, or a list of files, folders and patterns: as a folder that has just those.
Inside a folder, files or subfolders named train*, validation* (valid*, val*, dev*) or test* assign the split; so do
names that hold such a word, if all do. A subfolder ``label=pos`` is the column ``label`` of the tables in it.
"""

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from roformer.data.sources._columns import Columns, Row
from roformer.data.sources._folders import Listing, Parts, list_folder
from roformer.data.sources._opening import COMPRESSED, USUAL, TextFormat, open_text, suffix_of
from roformer.data.sources._saved_datasets import without_metadata
from roformer.data.sources._split_names import doubtful_titles, overlooked, split_named, splits_named_inside
from roformer.data.sources._tables import READERS, is_table, read_rows
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents
SampleBy = Literal["line", "paragraph", "document"]
_OTHER_KINDS = {".7z", ".avro", ".feather", ".lz4", ".ods", ".orc", ".rar", ".tar", ".tgz", ".xls", ".xlsx", ".zip"}
_ABOUT_FILES = {".asc", ".crc", ".dvc", ".md5", ".sha1", ".sha256", ".sig", ".swp"}
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Kinds:
    """Suffixes of the files that a source reads: tables, or else texts."""

    tables: Collection[str] = tuple(READERS)
    texts: Collection[str] = (".txt",)

    def is_table(self, file: Path) -> bool:
        return is_table(file) and suffix_of(file) in self.tables

    def is_text(self, file: Path) -> bool:
        return suffix_of(file) in self.texts

    def __str__(self) -> str:
        return ", ".join([*self.tables, *self.texts])


DOCUMENTS = Kinds()


@dataclass(frozen=True)
class LocalFile:
    """A file of a corpus.

    Attributes:
        path: its location.
        parts: folders and file name, relative to the corpus folder.
        split: the split that its name or a parent folder assigns; None if neither does.
        sample_by: what is a document in a .txt file: a line, what blank lines separate, or the whole file.
    """

    path: Path
    parts: Parts
    split: str | None
    sample_by: SampleBy = "document"

    @property
    def is_text(self) -> bool:
        return suffix_of(self.path) == ".txt"

    def text_documents(self, form: TextFormat = USUAL) -> Iterator[str]:
        """Yields the documents of a .txt file.

        Raises:
            UserError: if the file has another encoding.
        """
        with open_text(self.path, form) as file:
            documents: Iterable[str] = file
            if self.sample_by != "line":
                text = file.read()
                documents = re.split(r"\n[^\S\n]*\n", text) if self.sample_by == "paragraph" else [text]
            for document in documents:
                if document.strip():
                    yield document.strip()

    def rows(self, columns: Columns, form: TextFormat = USUAL) -> Iterator[Row]:
        """Yields {column: value} of each row of a table; folders such as ``label=pos`` are columns, too."""
        if columns is None:
            yield from read_rows(self.path, None, form)
            return
        folders = dict(part.split("=", 1) for part in self.parts[:-1] if "=" in part)
        own = {name: None if value == _NULL_PARTITION else unquote(value) for name, value in folders.items()}
        inside = [column for column in columns if column not in own]
        for row in read_rows(self.path, inside, form):
            yield {**row, **{column: own[column] for column in columns if column in own}}


@dataclass(frozen=True)
class LocalCorpus:
    """The files that a path, a pattern or a list of them stands for.

    Attributes:
        files: to read, sorted by relative path.
        unread: files that may hold documents, too, by kind (".zip files"): hidden, compressed in another way, texts
            next to tables; and links that lead nowhere.
        doubts: about splits that names assign.
    """

    files: list[LocalFile]
    unread: Counter[str]
    doubts: list[str]


def find_files(path: str | list[str], kinds: Kinds = DOCUMENTS) -> LocalCorpus:
    """Lists the tables, or else the texts, at or below ``path``.

    Raises:
        UserError: if there is no such path, or no supported file.
    """
    places = _expanded([path] if isinstance(path, str) else path, kinds)
    if len(places) == 1 and places[0].is_file():
        return LocalCorpus([LocalFile(places[0], (places[0].name,), split=None, sample_by="paragraph")], Counter(), [])
    root = places[0] if len(places) == 1 else Path(os.path.commonpath([place.absolute().parent for place in places]))
    listing = _listing(root, places)
    found = without_metadata(root, listing.files)
    tables = [parts for parts in found if kinds.is_table(Path(parts[-1]))]
    chosen = tables or [parts for parts in found if kinds.is_text(Path(parts[-1]))]
    chosen = [parts for parts in chosen if not _is_copy(parts, chosen)]
    unread = _unread({*found, *listing.hidden} - {*chosen}, kinds)
    if listing.broken:
        unread["links that lead nowhere"] = listing.broken
    if not chosen:
        more = "".join(f"; it has {count:,} {kind}" for kind, count in unread.items())
        raise UserError(f"no supported file in the folder data.path={path}{more} (supported: {kinds})")
    return _with_splits(root, chosen, unread, texts=not tables)


def _expanded(paths: list[str], kinds: Kinds) -> list[Path]:
    """Returns the files and folders that paths and patterns stand for; what exists is no pattern."""
    places: list[Path] = []
    for path in paths:
        place = Path(path).expanduser()
        if place.is_file() and not (kinds.is_table(place) or kinds.is_text(place)):
            unpack = "; unpack it" if place.suffix in (*COMPRESSED, ".zip") else ""
            raise UserError(f"data.path={path} has an unsupported file type{unpack} (supported: {kinds})")
        if place.is_file() or place.is_dir():
            places.append(place)
        elif place.exists():
            raise UserError(f"data.path={path} is neither a file nor a folder")
        else:
            matches = (Path(match) for match in sorted(glob.glob(str(place), recursive=True)))
            supported = [each for each in matches if each.is_dir() or kinds.is_table(each) or kinds.is_text(each)]
            if not supported:
                found = "matches no supported file" if glob.has_magic(path) else "does not exist"
                raise UserError(f"data.path={path} {found} (give a file or a folder; relative to {Path.cwd()})")
            places += supported
    if not places:
        raise UserError("data.path is empty; give a file, a folder, a pattern, or a list of them")
    return list(dict.fromkeys(Path(os.path.abspath(place)) if len(places) > 1 else place for place in places))


def _listing(root: Path, places: list[Path]) -> Listing:
    """Lists the places below their common folder, each file once."""
    if places == [root]:
        return list_folder(root)
    whole = Listing()
    for place in places:
        if place.is_file():
            whole.files.append(place.relative_to(root).parts)
            continue
        inside, parts = list_folder(place), place.relative_to(root).parts
        whole.files += [(*parts, *file) for file in inside.files]
        whole.hidden += [(*parts, *file) for file in inside.hidden]
        whole.broken += inside.broken
    whole.files = sorted(set(whole.files))
    return whole


def _is_copy(parts: Parts, chosen: Collection[Parts]) -> bool:
    """Whether a file is compressed, and lies next to what it holds."""
    name = Path(parts[-1])
    return name.suffix.lower() in COMPRESSED and (*parts[:-1], name.stem) in chosen


def _unread(left: Iterable[Parts], kinds_read: Kinds) -> Counter[str]:
    """Counts files that may hold documents, by kind."""
    hold_documents = {*kinds_read.tables, *kinds_read.texts, *_OTHER_KINDS, *COMPRESSED}
    found: Counter[str] = Counter()
    for endings in (Path(parts[-1].rstrip("~")).suffixes for parts in left):
        first = next((place for place, ending in enumerate(endings) if ending.lower() in hold_documents), None)
        if first is not None and endings[-1].lower() not in _ABOUT_FILES:
            found[f"{''.join(endings[first:])} files"] += 1
    return found


def _with_splits(root: Path, chosen: list[Parts], unread: Counter[str], *, texts: bool) -> LocalCorpus:
    """Returns the corpus of these files, each with the split that its name or a folder assigns."""
    files, doubts = {}, list[str | None]()
    folders: dict[Parts, list[str]] = {}
    for parts in chosen:
        folders.setdefault(parts[:-1], []).append(parts[-1])
    for folder, names in folders.items():
        inside = splits_named_inside(names)
        own = {name: split_named(name) or inside.get(name) for name in names}
        of_folder = next(filter(None, map(split_named, folder)), None)
        if texts and not of_folder:
            doubts.append(doubtful_titles(own))
        for name, split in own.items():
            parts = (*folder, name)
            file = LocalFile(root.joinpath(*parts), parts, of_folder or split)
            files[parts] = replace(file, sample_by="paragraph") if split else file
    doubts.append(overlooked({parts: files[parts].split for parts in chosen}, texts=texts))
    return LocalCorpus([files[parts] for parts in chosen], unread, [doubt for doubt in doubts if doubt])


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


def local_files_key(files: Sequence[LocalFile]) -> list[list[object]]:
    """Returns the ``files_key`` of files that ``find_files`` returned, and what earlier versions read otherwise."""
    key = files_key(("/".join(file.parts), file.path) for file in files)
    return [[*entry, *_read_otherwise(file)] for entry, file in zip(key, files, strict=True)]


def _read_otherwise(file: LocalFile) -> list[str]:
    """Returns how a file is read where versions up to 0.1 read it in another way; their caches keep their keys."""
    found = []
    if file.split and not any(split_named(part) for part in file.parts if not part.startswith("split=")):
        found.append(f"split {file.split}")
    if suffix_of(file.path) == ".tsv" and b'"' in file.path.read_bytes():
        found.append("quotes are text")
    return found
