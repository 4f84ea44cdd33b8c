"""What sources of local files have in common."""

from collections import Counter
from collections.abc import Sequence

from roformer.data.sources._base import Source
from roformer.data.sources._local_files import LocalCorpus, LocalFile


class LocalSource(Source):
    """Documents from local files.

    Attributes:
        corpus: the files that ``data.path`` stands for.
        files: those of them that are read.
    """

    corpus: LocalCorpus
    files: Sequence[LocalFile]

    def provided_splits(self) -> frozenset[str]:
        return frozenset(file.split for file in self.files if file.split)

    def unread_files(self) -> Counter[str]:
        return self.corpus.unread

    def doubts(self) -> list[str]:
        return self.corpus.doubts
