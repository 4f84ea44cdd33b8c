"""Documents that are evaluated and trained on: exact copies are skipped on demand, near copies are counted."""

from collections.abc import Iterator, Mapping

import numpy as np

from roformer.data.cache import content_key
from roformer.data.sources import Document
from roformer.data.splits import split_documents, text_hash
from roformer.data.token_store import TokenizedSplit
from roformer.data.wrapped import WrappedSource
from roformer.extras import require

SHINGLE = 5  # tokens
_PERMUTATIONS = 128


class WithoutRepeated(WrappedSource):
    """A source without the training documents whose text is that of an evaluated document."""

    def fingerprint(self) -> str:
        return content_key("without repeated", self.source.fingerprint(), self.fractions)

    def documents(self) -> Iterator[Document]:
        self.source.skipped = self.skipped
        of_splits = split_documents(self.source, **self.fractions)
        evaluated = {text_hash(document) for split, document in of_splits if split != "train"}
        self.skipped.clear()  # the second pass counts again
        for split, document in split_documents(self.source, **self.fractions):
            if split == "train" and text_hash(document) in evaluated:
                self.skipped["training documents that are evaluated, too"] += 1
            else:
                yield document


def near_copies(splits: Mapping[str, TokenizedSplit], threshold: float) -> dict[str, dict[int, int]]:
    """Finds evaluated documents that nearly are training documents, by MinHash (Broder 1997).

    Args:
        splits: of a corpus.
        threshold: Jaccard similarity of the sets of shingles, runs of five tokens, from which on documents count as
            copies. It is estimated, with a standard error below 0.05.

    Returns:
        Validation and test -> number of a document -> number of the training document most like it.

    Raises:
        UserError: if datasketch is not installed.
    """
    require("datasketch", "+near_copies")
    from datasketch import MinHash, MinHashLSH

    def sketch(split: TokenizedSplit, index: int) -> MinHash:
        tokens = np.asarray(split.document(index), dtype=np.uint32)
        starts = range(max(1, len(tokens) - SHINGLE + 1))
        found = MinHash(num_perm=_PERMUTATIONS)
        found.update_batch([tokens[start : start + SHINGLE].tobytes() for start in starts])
        return found

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    trained = {number: sketch(splits["train"], number) for number in range(len(splits["train"]))}
    for number, found in trained.items():
        index.insert(number, found)
    copies: dict[str, dict[int, int]] = {}
    for name in splits.keys() - {"train"}:
        copies[name] = {}
        for number in range(len(splits[name])):
            own = sketch(splits[name], number)
            similar = {other: own.jaccard(trained[other]) for other in index.query(own)}
            best = max(similar, key=similar.__getitem__, default=None)
            if best is not None and similar[best] >= threshold:
                copies[name][number] = best
    return copies
