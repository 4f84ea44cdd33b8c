"""Classes of so few documents that none fell into the train split."""

from collections.abc import Iterator
from dataclasses import replace

from roformer.data.cache import content_key
from roformer.data.sources import Document
from roformer.data.splits import expected_splits, split_documents
from roformer.data.wrapped import WrappedSource


class TrainsOnRareClasses(WrappedSource):
    """A source whose documents are training documents if their class has no other ones.

    Where each class has a training document the splits are those of the source, and so are validation and test
    documents that the source itself has assigned.
    """

    def fingerprint(self) -> str:
        return content_key("rare classes in train", self.source.fingerprint(), self.fractions)

    def provided_splits(self) -> frozenset[str]:
        """Returns all splits: none is drawn again."""
        return frozenset(expected_splits(self.source, **self.fractions))

    def documents(self) -> Iterator[Document]:
        self.source.skipped = self.skipped
        of_splits = split_documents(self.source, **self.fractions)
        trained = {document.label for split, document in of_splits if split == "train"}
        self.skipped.clear()  # the second pass counts again
        for split, document in split_documents(self.source, **self.fractions):
            is_drawn = document.split in (None, "train")
            yield replace(document, split="train" if is_drawn and document.label not in trained else split)
