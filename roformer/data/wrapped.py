"""A source whose documents are those of another one, changed for their splits."""

from collections import Counter
from collections.abc import Mapping

from roformer.data.sources import Source


class WrappedSource(Source):
    """A source that changes which documents of another one are in which split.

    Args:
        source: read twice.
        fractions: ``validation_fraction`` and ``test_fraction``.
    """

    def __init__(self, source: Source, fractions: Mapping[str, float]) -> None:
        self.source, self.fractions = source, dict(fractions)

    def provided_splits(self) -> frozenset[str]:
        return self.source.provided_splits()

    def unread_files(self) -> Counter[str]:
        return self.source.unread_files()

    def doubts(self) -> list[str]:
        return self.source.doubts()
