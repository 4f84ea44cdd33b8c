"""Parallel text in two languages: a table with one column per language, or two line-aligned files.

In a folder, all pairs of files ``<name>.<source>`` and ``<name>.<target>`` are read, such as ``train.en`` and
``train.de``, compressed or not, or else its tables. Files named train*, validation* (valid*, val*, dev*) or test*
assign the split.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document
from roformer.data.sources._columns import row_texts
from roformer.data.sources._local_files import LocalCorpus, files_key, find_files, local_files_key
from roformer.data.sources._local_source import LocalSource
from roformer.data.sources._opening import COMPRESSED, TextFormat, open_text
from roformer.data.sources._split_names import split_named, splits_named_inside
from roformer.data.sources._tables import READERS
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents


@SOURCES.register("parallel")
class ParallelSource(LocalSource):
    """One document per pair of source and target text. Pairs with a blank side are skipped.

    Args:
        path: a table, a folder of tables or of file pairs; or a pattern or list of tables.
        source: column or file suffix of the source language, such as ``en``; or a field, ``translation.en``.
        target: column or file suffix of the target language, such as ``de``.
        encoding, delimiter: as in ``TextFormat``.

    Raises:
        UserError: if there is no such file, or source equals target; on reading, if two files differ in their number
            of lines, or a column is missing.
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        source: str,
        target: str,
        encoding: str | None = None,
        delimiter: str | None = None,
    ) -> None:
        if source == target:
            raise UserError(f"data.source and data.target are both '{source}'; give two columns or suffixes")
        self.path, self.languages, self.form = path, (source, target), TextFormat(encoding, delimiter)
        self.pairs = _pairs_of_files(Path(path).expanduser(), source, target) if isinstance(path, str) else []
        self.corpus = LocalCorpus([], Counter(), []) if self.pairs else find_files(path)
        self.files = self.corpus.files

    def fingerprint(self) -> str:
        pairs = files_key((file.name, file) for pair in self.pairs for file in (pair.source, pair.target))
        inside = [[pair.source.name, pair.split] for pair in self.pairs if pair.split != split_named(pair.source.name)]
        key = ("parallel", CACHE_VERSION, pairs + local_files_key(self.files), self.languages)
        return content_key(*key, *self.form.key(), *inside)

    def provided_splits(self) -> frozenset[str]:
        return super().provided_splits() | {pair.split for pair in self.pairs if pair.split}

    def documents(self) -> Iterator[Document]:
        empty = True
        for split, (source, target) in self._texts():
            empty = False
            yield Document(source, split=split, extra_texts=(target,))
        if empty:
            raise UserError(f"no documents in data.path={self.path}: no pair has text on both sides")

    def _texts(self) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        for pair in self.pairs:
            for texts in _lines(pair, self.form):
                if all(texts):
                    yield pair.split, texts
                else:
                    self.skipped["pairs with a blank side"] += 1
        for file in self.files:
            if file.is_text:
                raise UserError(
                    f"{file.path} is not a table: name line-aligned files train.{self.languages[0]} and "
                    f"train.{self.languages[1]} (supported tables: {', '.join(READERS)})"
                )
            for row in file.rows(self.languages, self.form):
                found = row_texts(row, self.languages, str(file.path))
                if found is None:
                    self.skipped["pairs with a blank side"] += 1
                else:
                    yield file.split, found


class _Pair(NamedTuple):
    """Two line-aligned files, and the split that their name assigns."""

    source: Path
    target: Path
    split: str | None


def _pairs_of_files(root: Path, source: str, target: str) -> list[_Pair]:
    """Returns the file pairs of a folder, sorted by name."""
    if not root.is_dir():
        return []
    ours, theirs = (_side_files(root, language) for language in (source, target))
    for files, others, other in ((ours, theirs, target), (theirs, ours, source)):
        if unpaired := sorted(files.keys() - others.keys()):
            raise UserError(
                f"{files[unpaired[0]]} has no matching {unpaired[0]}.{other} (data.source={source} and "
                f"data.target={target} are the suffixes of a pair)"
            )
    inside = splits_named_inside([*ours])
    return [_Pair(file, theirs[name], split_named(name) or inside.get(name)) for name, file in ours.items()]


def _side_files(root: Path, language: str) -> dict[str, Path]:
    """Returns name without language -> file, sorted; a file may be compressed."""
    found: dict[str, Path] = {}
    for suffix in ("", *COMPRESSED):
        for file in sorted(root.glob(f"*.{language}{suffix}")):
            found.setdefault(file.name.removesuffix(f".{language}{suffix}"), file)
    return dict(sorted(found.items(), key=lambda item: item[1].name))


def _lines(pair: _Pair, form: TextFormat) -> Iterator[tuple[str, str]]:
    """Yields line i of both files."""
    for number, texts in enumerate(zip_longest(_side(pair.source, form), _side(pair.target, form)), start=1):
        if None in texts:
            short, long = (pair.source, pair.target) if texts[0] is None else (pair.target, pair.source)
            raise UserError(f"{short} ends before line {number} of {long}; both need the same number of lines")
        yield texts[0].strip(), texts[1].strip()


def _side(file: Path, form: TextFormat) -> Iterator[str]:
    with open_text(file, form, newline="\n") as lines:  # a carriage return within a line does not end it
        yield from lines
