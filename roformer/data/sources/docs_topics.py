"""Long-text classification without a download: which library does this documentation belong to?"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._docstrings import CACHE_VERSION, module_texts, package_versions
from roformer.errors import UserError

_LONGEST_ALIAS = 3  # short names occur inside ordinary words ("np" in "input"); longer ones do not


def name_pattern(names: Sequence[str]) -> re.Pattern[str]:
    """Returns a case-insensitive pattern for every word that contains one of the names.

    A name of up to three letters must be a whole part of the word: "np" matches ``np`` and ``np_array``, not
    ``input``. A space in a name also matches a hyphen, an underscore or a line break.
    """
    choices = []
    for name in names:
        escaped = r"[\s_-]+".join(re.escape(part) for part in name.split())
        choices.append(rf"(?<![^\W_]){escaped}(?![^\W_])" if len(name) <= _LONGEST_ALIAS else escaped)
    return re.compile(rf"(?<!\w)\w*(?:{'|'.join(choices)})\w*", re.IGNORECASE)


@SOURCES.register("docs_topics")
class DocsTopicsSource(Source):
    """One document per module, labeled with its library; the library's names are removed from the text.

    Args:
        libraries: maps an import name (the label) to the names that the library's documentation uses for itself.
        min_characters: documents that are shorter after the removal are skipped.
        max_documents_per_library: keeps the classes balanced; a hash of the text decides which documents are kept.

    Raises:
        UserError: if a library is not installed, has no names, or yields no document.
    """

    text_languages = ("en",)

    def __init__(
        self, *, libraries: Mapping[str, Sequence[str]], min_characters: int, max_documents_per_library: int
    ) -> None:
        for label, names in libraries.items():
            if not names:
                raise UserError(f"data.libraries.{label} is empty: list the names to remove, at least [{label}]")
        self.libraries = {label: list(names) for label, names in libraries.items()}
        self.min_characters = min_characters
        self.max_documents_per_library = max_documents_per_library
        self.versions = package_versions(list(libraries))
        self._documents: list[Document] | None = None

    def fingerprint(self) -> str:
        settings = [list(self.libraries.items()), self.min_characters, self.max_documents_per_library]
        return content_key("docs_topics", CACHE_VERSION, list(self.versions.items()), settings)

    def documents(self) -> Iterator[Document]:
        if self._documents is None:
            self._documents = self._collect()
        yield from self._documents

    def _collect(self) -> list[Document]:
        texts: dict[str, list[str]] = defaultdict(list)
        for label, text in module_texts(list(self.libraries)):
            texts[label].append(text)
        documents: dict[str, Document] = {}
        for label, names in self.libraries.items():
            pattern, count = name_pattern(names), 0
            for text in sorted(texts[label], key=_digest):
                if count == self.max_documents_per_library:
                    break
                anonymous = pattern.sub("", text)
                if len(anonymous) >= self.min_characters and anonymous not in documents:
                    documents[anonymous] = Document(anonymous, label=label)
                    count += 1
            if not count:
                raise UserError(
                    f"library '{label}' has no module with {self.min_characters} characters of documentation "
                    "(lower data.min_characters, or remove it from data.libraries)"
                )
        return list(documents.values())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
