"""Parallel text in two languages: a table with one column per language, or two line-aligned files.

In a folder, all pairs of files ``<name>.<source>`` and ``<name>.<target>`` are read, such as ``train.en`` and
``train.de``, or else its tables. Files named train*, validation* (valid*, val*, dev*) or test* assign the split.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._local_files import files_key, find_files, local_files_key, split_named
from roformer.data.sources._tables import READERS, read_rows, row_texts
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents


@SOURCES.register("parallel")
class ParallelSource(Source):
    """One document per pair of source and target text. Pairs with a blank side are skipped.

    Args:
        path: a table; or a folder of tables or of file pairs.
        source: column or file suffix of the source language, such as ``en``.
        target: column or file suffix of the target language, such as ``de``.

    Raises:
        UserError: if there is no such file, or source equals target; on reading, if two files differ in their number
            of lines, or a column is missing.
    """

    def __init__(self, *, path: str, source: str, target: str) -> None:
        if source == target:
            raise UserError(f"data.source and data.target are both '{source}'; give two columns or suffixes")
        self.path, self.languages = path, (source, target)
        self.pairs = _pairs_of_files(Path(path).expanduser(), source, target)
        self.tables = [] if self.pairs else find_files(path)

    def fingerprint(self) -> str:
        pairs = files_key((file.name, file) for pair in self.pairs for file in pair)
        return content_key("parallel", CACHE_VERSION, pairs + local_files_key(self.tables), self.languages)

    def provided_splits(self) -> frozenset[str]:
        splits = [split_named(source.name) for source, _ in self.pairs] + [file.split for file in self.tables]
        return frozenset(split for split in splits if split)

    def documents(self) -> Iterator[Document]:
        empty = True
        for split, (source, target) in self._texts():
            empty = False
            yield Document(source, split=split, extra_texts=(target,))
        if empty:
            raise UserError(f"no documents in data.path={self.path}: no pair has text on both sides")

    def _texts(self) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        for source, target in self.pairs:
            for pair in _lines(source, target):
                if all(pair):
                    yield split_named(source.name), pair
                else:
                    self.skipped["pairs with a blank side"] += 1
        for file in self.tables:
            if file.is_text:
                raise UserError(
                    f"{file.path} is not a table: name line-aligned files train.{self.languages[0]} and "
                    f"train.{self.languages[1]} (supported tables: {', '.join(READERS)})"
                )
            for row in read_rows(file.path, self.languages):
                texts = row_texts(row, self.languages, str(file.path))
                if texts is None:
                    self.skipped["pairs with a blank side"] += 1
                else:
                    yield file.split, texts


def _pairs_of_files(root: Path, source: str, target: str) -> list[tuple[Path, Path]]:
    """Returns the file pairs of a folder, sorted by name."""
    if not root.is_dir():
        return []
    found, others = (sorted(root.glob(f"*.{language}")) for language in (source, target))
    for files, other in ((found, target), (others, source)):
        if unpaired := [file for file in files if not file.with_suffix(f".{other}").is_file()]:
            raise UserError(
                f"{unpaired[0]} has no matching {unpaired[0].with_suffix(f'.{other}').name} (data.source={source} and "
                f"data.target={target} are the suffixes of a pair)"
            )
    return [(file, file.with_suffix(f".{target}")) for file in found]


def _lines(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Yields line i of both files."""
    for number, pair in enumerate(zip_longest(_side(source), _side(target)), start=1):
        if None in pair:
            short, long = (source, target) if pair[0] is None else (target, source)
            raise UserError(f"{short} ends before line {number} of {long}; both need the same number of lines")
        yield pair[0].strip(), pair[1].strip()


def _side(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:  # a carriage return within a line does not end it
            yield from lines
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: {error.reason} (convert it)") from error
