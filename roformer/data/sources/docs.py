"""The default corpus: docstrings of the standard library and of the packages this project is installed with."""

from collections.abc import Iterator, Sequence

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._docstrings import CACHE_VERSION, installed_packages, module_texts, package_versions
from roformer.errors import UserError


@SOURCES.register("docs")
class DocsSource(Source):
    """One document per module: all its docstrings, read from installed files. Imports and downloads nothing.

    Args:
        packages: top-level import names, or "stdlib", in the order of their documents. Those that are not installed
            are skipped, which makes another corpus with another fingerprint.
        min_characters: shorter documents are skipped.
    """

    text_languages = ("en",)

    def __init__(self, *, packages: Sequence[str], min_characters: int) -> None:
        self.min_characters = min_characters
        self.versions = package_versions(installed_packages(packages))
        self._documents: list[Document] | None = None

    def fingerprint(self) -> str:
        return content_key("docs", CACHE_VERSION, list(self.versions.items()), self.min_characters)

    def documents(self) -> Iterator[Document]:
        if self._documents is None:  # tokenizer and token cache both read it, and parsing takes seconds
            texts = dict.fromkeys(text for _, text in module_texts(list(self.versions)))
            self._documents = [Document(text) for text in texts if len(text) >= self.min_characters]
        if not self._documents:
            raise UserError(
                f"no documents of {self.min_characters} characters in {', '.join(self.versions) or 'data.packages'} "
                "(lower data.min_characters, or list more packages in data.packages)"
            )
        yield from self._documents
