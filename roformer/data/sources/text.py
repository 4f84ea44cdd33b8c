"""Your own text: a table, a .txt file, or a folder of either."""

from collections.abc import Iterator
from dataclasses import replace

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document
from roformer.data.sources._columns import cell_text
from roformer.data.sources._local_files import CACHE_VERSION, LocalFile, SampleBy, find_files, local_files_key
from roformer.data.sources._local_source import LocalSource
from roformer.data.sources._opening import TextFormat
from roformer.errors import UserError


@SOURCES.register("text")
class TextSource(LocalSource):
    """Unlabeled documents from local files.

    Args:
        path: a file, a folder, a pattern, or a list of them; ``_local_files`` lists the supported layouts.
        text_column: the column (or JSON key) of the text, ``column.field`` for a field of an object; .txt files do not
            need it.
        sample_by: what is a document in .txt files: a ``line``, a ``paragraph`` (what blank lines separate) or the
            whole file (``document``); null as ``_local_files`` says.
        encoding, delimiter: as in ``TextFormat``.

    Raises:
        UserError: if there is no supported file.
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        text_column: str,
        sample_by: SampleBy | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
    ) -> None:
        self.path, self.text_column, self.sample_by = path, text_column, sample_by
        self.form, self.corpus = TextFormat(encoding, delimiter), find_files(path)
        self.files = [replace(file, sample_by=sample_by or file.sample_by) for file in self.corpus.files]

    def fingerprint(self) -> str:
        chosen = [*self.form.key(), *([["sample_by", self.sample_by]] if self.sample_by else [])]
        return content_key("text", CACHE_VERSION, local_files_key(self.files), self.text_column, *chosen)

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
            yield from file.text_documents(self.form)
            return
        for row in file.rows([self.text_column], self.form):
            text = cell_text(row[self.text_column], f"{file.path}, column '{self.text_column}'")
            if text is None:
                self.skipped["rows without text"] += 1
            else:
                yield text
