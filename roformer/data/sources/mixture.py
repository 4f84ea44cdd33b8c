"""A concatenation of several corpora."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.errors import UserError


@SOURCES.register("mixture")
class MixtureSource(Source):
    """The documents of all ``sources``, concatenated in order.

    Args:
        sources: settings as for a single source: ``name`` and that source's own keys.

    Raises:
        UserError: if the list is empty, or the settings of a source are wrong.
    """

    def __init__(self, *, sources: Sequence[Mapping[str, Any]]) -> None:
        if not sources:
            raise UserError("data.sources is empty: list at least one source, each with a 'name'")
        self.sources = [SOURCES.build(settings) for settings in sources]

    def fingerprint(self) -> str:
        return content_key("mixture", [source.fingerprint() for source in self.sources])

    def unread_files(self) -> Counter[str]:
        return sum((source.unread_files() for source in self.sources), Counter())

    def doubts(self) -> list[str]:
        return [doubt for source in self.sources for doubt in source.doubts()]

    def documents(self) -> Iterator[Document]:
        for source in self.sources:
            source.skipped = self.skipped
            yield from source.documents()

    def provided_splits(self) -> frozenset[str]:
        """Returns the splits that any of the sources assigns."""
        return frozenset().union(*(source.provided_splits() for source in self.sources))
