"""Documents that count."""

from collections.abc import Iterator

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source


@SOURCES.register("toy")
class CountingSource(Source):
    """Each document counts on from a number of its own.

    Args:
        documents: how many there are.
    """

    def __init__(self, *, documents: int) -> None:
        self.count = documents

    def fingerprint(self) -> str:
        return content_key("toy", self.count)

    def documents(self) -> Iterator[Document]:
        for first in range(self.count):
            yield Document(" ".join(str(first + number) for number in range(60)))
