"""Assigns the documents of a source to train, validation and test."""

import hashlib
from collections.abc import Iterator, Set

from roformer.data.sources import SPLITS, Document, Source
from roformer.errors import UserError


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Raises UserError unless both fractions lie in [0, 1) and leave documents to train on."""
    for name, value in (("validation", validation_fraction), ("test", test_fraction)):
        if not 0 <= value < 1:
            raise UserError(f"data.{name}_fraction={value} is not a fraction of the corpus (allowed: 0 <= x < 1)")
    if validation_fraction + test_fraction >= 1:
        raise UserError(
            f"data.validation_fraction={validation_fraction} and data.test_fraction={test_fraction} leave nothing to "
            "train on; their sum must be below 1"
        )


def text_hash(document: Document) -> int:
    """Returns 64 bits that are equal for equal texts."""
    return _hash("\0".join(document.texts))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def split_of(document: Document, validation_fraction: float, test_fraction: float, provided: Set[str]) -> str:
    """Returns the split of a document: the one that its source assigned, or else one drawn by a hash of its text.

    Equal texts get the same split in every corpus and run, and so do documents of one group. No document is drawn into
    a split in ``provided``.
    """
    if document.split in ("validation", "test"):
        return document.split
    number = text_hash(document) if document.group is None else _hash(document.group)
    draw = number / 2**64  # uniform on [0, 1)
    test = 0.0 if "test" in provided else test_fraction
    validation = 0.0 if "validation" in provided else validation_fraction
    if draw < test:
        return "test"
    return "validation" if draw < test + validation else "train"


def expected_splits(source: Source, *, validation_fraction: float, test_fraction: float) -> set[str]:
    """Returns the splits that must not be empty: those that are asked for, and those that the source assigns."""
    asked = (("validation", validation_fraction), ("test", test_fraction))
    return {"train", *(name for name, fraction in asked if fraction > 0), *source.provided_splits()}


def require_splits(source: Source, *, validation_fraction: float, test_fraction: float) -> None:
    """Raises ``UserError`` if an expected split has no document; stops at the first document of the last split."""
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    missing, documents = expected_splits(source, **fractions), 0
    for split, _ in split_documents(source, **fractions):
        documents += 1
        missing.discard(split)
        if not missing:
            return
    raise empty_split(next(split for split in SPLITS if split in missing), documents)


def empty_split(split: str, documents: int) -> UserError:
    """Returns the error of a split in which none of the documents fell."""
    if not documents:
        return UserError("no documents in the corpus: check data.path or data.min_characters")
    remedy = (
        "lower data.validation_fraction, or name a file train*"
        if split == "train"
        else f"raise data.{split}_fraction" + (", or set it to 0" if split == "test" else "")
    )
    lines = "; data.sample_by=line makes each line of a .txt file a document" if documents == 1 else ""
    return UserError(f"the {split} split of {documents} documents is empty ({remedy}, or add documents{lines})")


def split_documents(
    source: Source, *, validation_fraction: float, test_fraction: float
) -> Iterator[tuple[str, Document]]:
    """Yields (split, document) for every document of ``source``, in its order.

    Raises:
        UserError: if the fractions are invalid, or the source has no documents.
    """
    check_fractions(validation_fraction, test_fraction)
    provided = source.provided_splits()
    for document in source.documents():
        yield split_of(document, validation_fraction, test_fraction, provided), document
