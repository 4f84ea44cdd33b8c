"""Texts in two languages, side by side: a table with a column each, or two files of which line i belongs to line i.

Of a folder, all pairs of files ``<name>.<source>`` and ``<name>.<target>`` are read, such as ``train.en`` and
``train.de``, or else its tables. Files named train*, validation* (valid*, val*, dev*) or test* give the split.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from roformer.data._base import SOURCES, Document, Source
from roformer.data.cache import content_key
from roformer.data.local import files_key, find_files, split_named
from roformer.data.tables import READERS, read_rows, row_texts
from roformer.errors import UserError

FORMAT = 1  # raise it when the same files would yield other documents


@SOURCES.register("parallel")
class ParallelSource(Source):
    """A document is a source and its target. Pairs of which one side is blank are left out.

    Args:
        path: a table; a folder of tables, or of pairs of files.
        source: the column or the end of the file names of what is translated, such as ``en``.
        target: that of what it is translated into, such as ``de``.

    Raises:
        UserError: if there is no such file, or source and target are one; later,
            if two files have not as many lines, or a column is not there.
    """

    def __init__(self, *, path: str, source: str, target: str) -> None:
        if source == target:
            raise UserError(f"data.source and data.target are both '{source}'; name two columns or ends of file names")
        self.path, self.languages = path, (source, target)
        self.pairs = _pairs_of_files(Path(path).expanduser(), source, target)
        self.tables = [] if self.pairs else find_files(path)

    def fingerprint(self) -> str:
        files = [(file.name, file) for pair in self.pairs for file in pair]
        files += [("/".join(file.parts), file.path) for file in self.tables]
        return content_key("parallel", FORMAT, files_key(files), self.languages)

    def provided_splits(self) -> frozenset[str]:
        splits = [split_named(source.name) for source, _ in self.pairs] + [file.split for file in self.tables]
        return frozenset(split for split in splits if split)

    def documents(self) -> Iterator[Document]:
        empty = True
        for split, (text, further) in self._texts():
            empty = False
            yield Document(text, split=split, further=(further,))
        if empty:
            raise UserError(f"no documents in data.path={self.path}: no pair has text on both sides")

    def _texts(self) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        for source, target in self.pairs:
            yield from ((split_named(source.name), pair) for pair in _lines(source, target))
        for file in self.tables:
            if file.is_text:
                raise UserError(
                    f"{file.path} is no table: name the two files of a corpus as train.{self.languages[0]} and "
                    f"train.{self.languages[1]} (supported tables: {', '.join(READERS)})"
                )
            for row in read_rows(file.path, self.languages):
                texts = row_texts(row, self.languages, str(file.path))
                if texts is not None:
                    yield file.split, texts


def _pairs_of_files(root: Path, source: str, target: str) -> list[tuple[Path, Path]]:
    """Returns the pairs of files in a folder, sorted by name."""
    if not root.is_dir():
        return []
    found, others = (sorted(root.glob(f"*.{language}")) for language in (source, target))
    for files, other in ((found, target), (others, source)):
        if lonely := [file for file in files if not file.with_suffix(f".{other}").is_file()]:
            raise UserError(
                f"{lonely[0]} has no {lonely[0].with_suffix(f'.{other}').name} beside it; data.source={source} and "
                f"data.target={target} are the ends of the names"
            )
    return [(file, file.with_suffix(f".{target}")) for file in found]


def _lines(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Yields line i of both files, but for pairs of which one is blank."""
    for number, pair in enumerate(zip_longest(_side(source), _side(target)), start=1):
        if None in pair:
            raise UserError(
                f"{source if pair[0] is None else target} ends before line {number} of the other file; both "
                "need as many lines"
            )
        left, right = (line.strip() for line in pair)
        if left and right:
            yield left, right


def _side(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:  # a carriage return inside of a line ends none
            yield from lines
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: {error.reason} (convert it)") from error
