"""Opens text files in any encoding, compressed or not."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, TextIO, cast

from roformer.errors import UserError, one_line
from roformer.extras import require

COMPRESSED = (".bz2", ".gz", ".xz", ".zst")
"""Suffixes that may follow the one that says what a file holds: ``a.jsonl.gz``."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
DELIMITERS = {"comma": ",", "pipe": "|", "semicolon": ";", "tab": "\t"}
"""Characters that a command line takes in quotes within quotes only, by name."""


@dataclass(frozen=True)
class TextFormat:
    """What the ending of a file does not say about its text.

    Attributes:
        encoding: Python's name of the encoding; None for UTF-8. A byte order mark in a file says more.
        delimiter: what separates the columns of .csv and .tsv, a character or a name of ``DELIMITERS``; None for a
            comma and a tab.
        prefix: of both where a user sets them.

    Raises:
        UserError: if there is no such encoding, or the delimiter is not one character.
    """

    encoding: str | None = None
    delimiter: str | None = None
    prefix: ClassVar[str] = "data."

    def __post_init__(self) -> None:
        try:
            io.TextIOWrapper(io.BytesIO(), self.encoding or "utf-8")
        except (LookupError, ValueError) as error:
            raise UserError(
                f"{self.prefix}encoding={self.encoding} is no encoding; examples: utf-8, latin-1, cp1252, utf-16, "
                "gb18030, shift_jis"
            ) from error
        separator = self.separator(",")
        if len(separator) != 1 or separator in '"\r\n':
            raise UserError(
                f"{self.prefix}delimiter={self.delimiter} is not one character that can separate columns, or one of "
                f"{', '.join(DELIMITERS)}"
            )

    def separator(self, usual: str) -> str:
        """Returns the character that separates columns."""
        return usual if self.delimiter is None else DELIMITERS.get(self.delimiter, self.delimiter)

    def key(self) -> list[list[str]]:
        """Returns what a cache depends on: nothing where the format is the usual one, as caches of before had none."""
        return [[name, value] for name, value in vars(self).items() if value is not None]


class InputFormat(TextFormat):
    """A format that options of a command line say."""

    prefix = "--"


USUAL = TextFormat()


def suffix_of(path: Path) -> str:
    """Returns the ending that says what a file holds: ".jsonl" of ``a.jsonl`` and ``a.jsonl.gz``."""
    compressed = path.suffix.lower() in COMPRESSED
    return (Path(path.stem) if compressed else path).suffix.lower()


@contextmanager
def open_text(path: Path, form: TextFormat = USUAL, newline: str | None = None) -> Iterator[TextIO]:
    """Opens a text file; its content, not its name, says whether it is compressed.

    Args:
        newline: as in ``open``.

    Raises:
        UserError: also while reading, if the text has another encoding, the archive is damaged, or the file is a
            pointer of git-lfs.
    """
    encoding = form.encoding or "utf-8"
    try:
        with _decompressed(path) as file:
            head = cast(io.BufferedReader, file).peek(64)
            refuse_pointer(path, head)
            mark = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
            if mark is None and form.encoding is None and 4 * head.count(0) > len(head):
                raise UserError(
                    f"{path} seems to be UTF-16: it is full of NUL bytes; set {form.prefix}encoding=utf-16-le"
                )
            encoding = mark or encoding
            with io.TextIOWrapper(file, encoding, newline=newline) as text:
                yield text
    except UnicodeError as error:
        reason = one_line(error)
        if isinstance(error, UnicodeDecodeError):
            reason = f"{error.reason} at byte {_undecodable(path, encoding)}"
        raise UserError(
            f"{path} is not {encoding.removesuffix('-sig').upper()} text: {reason} (convert it, or set "
            f"{form.prefix}encoding, such as gb18030 for Chinese, or latin-1)"
        ) from error
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if getattr(error, "errno", None) is not None:
            raise  # of the machine, not of the archive
        raise UserError(f"{path} is a damaged archive: {one_line(error)}; copy it again") from error


def refuse_pointer(path: Path, head: bytes) -> None:
    """Raises ``UserError`` if a file that begins like this only says where git-lfs keeps its content."""
    if head.startswith(_POINTER):
        raise UserError(f"{path} is a pointer of git-lfs, not the file itself; fetch it with git lfs pull")


def _undecodable(path: Path, encoding: str) -> int:
    """Returns the place of the first byte that cannot be decoded; errors of a stream count from its last block."""
    decoder, start = codecs.getincrementaldecoder(encoding)(), 0
    with _decompressed(path) as file:
        while True:
            block, pending = file.read(2**20), len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return start - pending + error.start
            if not block:
                return start
            start += len(block)


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        head = file.read(10)
    if head.startswith(b"\x1f\x8b\x08"):
        return io.BufferedReader(cast(io.RawIOBase, gzip.open(path)))
    if head.startswith(b"BZh") and head[4:] in (b"1AY&SY", b"\x17rE8P\x90"):
        return io.BufferedReader(cast(io.RawIOBase, bz2.open(path)))
    if head.startswith(b"\xfd7zXZ\0"):
        return io.BufferedReader(cast(io.RawIOBase, lzma.open(path)))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        require("pyarrow", str(path))
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")
