"""Your own text: a table, a .txt file, or a folder of either."""

from collections import Counter
from collections.abc import Iterator

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._local_files import (
    CACHE_VERSION,
    LocalFile,
    find_files,
    local_files_key,
    unread_files,
)
from roformer.data.sources._tables import cell_text, read_rows
from roformer.errors import UserError


@SOURCES.register("text")
class TextSource(Source):
    """Unlabeled documents from local files.

    Args:
        path: a file or a folder; ``_local_files`` lists the supported layouts.
        text_column: the column (or JSON key) of the text; .txt files do not need it.

    Raises:
        UserError: if there is no supported file.
    """

    def __init__(self, *, path: str, text_column: str) -> None:
        self.path, self.text_column = path, text_column
        self.files = find_files(path)

    def fingerprint(self) -> str:
        return content_key("text", CACHE_VERSION, local_files_key(self.files), self.text_column)

    def provided_splits(self) -> frozenset[str]:
        return frozenset(file.split for file in self.files if file.split)

    def unread_files(self) -> Counter[str]:
        return unread_files(self.path, self.files)

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for text in self._texts(file):
                empty = False
                yield Document(text, split=file.split)
        if empty:
            unread = "".join(f"; {count:,} {kind} are not read" for kind, count in self.unread_files().items())
            raise UserError(f"no documents in data.path={self.path}: its files contain no text{unread}")

    def _texts(self, file: LocalFile) -> Iterator[str]:
        if file.is_text:
            yield from file.text_documents()
            return
        for row in read_rows(file.path, [self.text_column]):
            text = cell_text(row[self.text_column], f"{file.path}, column '{self.text_column}'")
            if text is None:
                self.skipped["rows without text"] += 1
            else:
                yield text
