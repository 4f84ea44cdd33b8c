"""Tokens on disk: memory-mapped arrays, written once and read by every run on the same corpus."""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roformer.data.annotations import Annotations, AnnotationWriter, Place, load_annotations, offsets
from roformer.data.npy import GrowingArray
from roformer.data.sources import SPLITS, Document
from roformer.data.splits import empty_split, text_hash
from roformer.errors import UserError

_MANY_UNKNOWN = 0.1  # share of the tokens


@dataclass(frozen=True)
class TokenizedSplit:
    """The token ids of one split, without special tokens except a [SEP] between two texts of a document.

    Attributes:
        tokens: (total,) uint16 or uint32, memory-mapped.
        offsets: (documents + 1,) int64; document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        labels: (documents,) int64 indices into the corpus's ``label_names``; None for unlabeled text.
        annotations: labeled parts of the texts; None if there are none.
    """

    tokens: NDArray[np.unsignedinteger[Any]]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    annotations: Annotations | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> NDArray[np.unsignedinteger[Any]]:
        """Returns the (length,) token ids of document ``index``, still memory-mapped."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class TokenizedCorpus:
    """A corpus, split and tokenized.

    Attributes:
        splits: the splits by name; "train" always exists, the others if requested or provided by the source.
        label_names: sorted names of the labels in all splits; empty for unlabeled text.
        texts: number of texts per document, with a [SEP] between consecutive ones.
        warnings: what is strange about the documents, such as "3 test documents are training documents, too".
        fingerprint: identifies documents, tokenizer and split fractions, and therefore the content.
        folder: its location on disk.
        tags: sorted names of the tags of labeled parts of texts.
    """

    splits: dict[str, TokenizedSplit]
    label_names: tuple[str, ...]
    texts: int
    warnings: tuple[str, ...]
    fingerprint: str
    folder: Path
    tags: tuple[str, ...] = ()


def load_corpus(folder: Path) -> TokenizedCorpus:
    """Opens a corpus that ``write_corpus`` wrote."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    splits = {}
    for name in meta["splits"]:
        labels = folder / f"{name}.labels.npy"
        splits[name] = TokenizedSplit(
            tokens=np.load(folder / f"{name}.tokens.npy", mmap_mode="r"),
            offsets=np.load(folder / f"{name}.offsets.npy"),
            labels=np.load(labels) if labels.exists() else None,
            annotations=load_annotations(folder, name),
        )
    return TokenizedCorpus(
        splits,
        tuple(meta["label_names"]),
        meta["texts"],
        tuple(meta.get("warnings", ())),
        meta["fingerprint"],
        folder,
        tuple(meta.get("tags", ())),
    )


def write_corpus(
    folder: Path,
    documents: Iterable[tuple[str, Document, list[int], list[Place]]],
    *,
    vocabulary_limit: int,
    unknown: int | None,
    skipped: Mapping[str, int],
    expected: Set[str],
    fingerprint: str,
) -> None:
    """Writes a tokenized corpus; memory stays small for a corpus of any size.

    Args:
        folder: an empty folder.
        documents: (split, document, token ids, places of the tokens) in corpus order; the places only if the document
            has spans.
        vocabulary_limit: upper bound of the token ids, exclusive; decides between uint16 and uint32.
        unknown: id of the token that stands for what the vocabulary lacks; None if there is none.
        skipped: what the source skips while ``documents`` is consumed.
        expected: splits that must not be empty.
        fingerprint: stored with the corpus.

    Raises:
        UserError: if there are no documents, an expected split is empty, or documents differ in having a label or
            labeled parts, or in their number of texts.
    """
    dtype = np.dtype(np.uint16 if vocabulary_limit <= 2**16 else np.uint32)
    with ExitStack() as files:
        writers: dict[str, _Writer] = {}
        for split, document, ids, places in documents:
            if split not in writers:
                file = files.enter_context((folder / f"{split}.tokens.npy").open("wb"))
                annotations = None if document.spans is None else AnnotationWriter(folder, split, files)
                writers[split] = _Writer(GrowingArray(file, dtype), unknown, annotations)
            writers[split].add(document, ids, places)
        _check_splits(writers, expected)
        label_names, tags = _label_names(writers), _tags(writers)
        for split, writer in writers.items():
            np.save(folder / f"{split}.offsets.npy", writer.finish(tags))
            if label_names:
                indices = {name: index for index, name in enumerate(label_names)}
                labels = [indices[label] for label in writer.labels if label is not None]
                np.save(folder / f"{split}.labels.npy", np.asarray(labels, dtype=np.int64))
    splits = {name: writers[name].totals() for name in SPLITS if name in writers}
    meta = {
        "fingerprint": fingerprint,
        "label_names": label_names,
        "texts": _texts(writers),
        "warnings": [*(f"skipped: {count:,} {what}" for what, count in skipped.items()), *_warnings(writers)],
        "splits": splits,
        **({"tags": tags} if tags is not None else {}),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


@dataclass
class _Writer:
    """Appends the documents of one split to its files."""

    tokens: GrowingArray
    unknown: int | None
    annotations: AnnotationWriter | None
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    labels: list[str | None] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)
    hashes: "array[int]" = field(default_factory=lambda: array("Q"))
    characters: int = 0
    unknown_total: int = 0

    @property
    def total(self) -> int:
        return self.tokens.rows

    def add(self, document: Document, ids: list[int], places: list[Place]) -> None:
        if (document.spans is None) != (self.annotations is None):
            raise _mixed_spans()
        self.tokens.append(ids)
        if self.annotations is not None:
            self.annotations.add(document, places)
        self.lengths.append(len(ids))
        self.labels.append(document.label)
        self.texts.add(len(document.texts))
        self.hashes.append(text_hash(document))
        self.unknown_total += 0 if self.unknown is None else ids.count(self.unknown)
        self.characters += sum(map(len, document.texts))

    def totals(self) -> dict[str, int]:
        return {"documents": len(self.lengths), "characters": self.characters, "tokens": self.total}

    def finish(self, tags: list[str] | None) -> NDArray[np.int64]:
        """Completes the files; returns the (documents + 1,) offsets."""
        self.tokens.finish()
        if self.annotations is not None and tags is not None:
            self.annotations.finish(tags)
        return offsets(self.lengths)


def _check_splits(writers: dict[str, _Writer], expected: Set[str]) -> None:
    documents = sum(len(writer.lengths) for writer in writers.values())
    for split in SPLITS:
        if split in expected and not (split in writers and writers[split].total):
            raise empty_split(split, documents)


def _warnings(writers: dict[str, _Writer]) -> list[str]:
    """Says what is strange about documents: copies in two splits, copies with other labels, no known tokens."""
    trained = np.asarray(writers["train"].hashes, dtype=np.uint64)
    lines = []
    for name in SPLITS[1:]:
        if name in writers and (count := int(np.isin(np.asarray(writers[name].hashes, np.uint64), trained).sum())):
            lines.append(
                f"{count:,} {name} documents are training documents, too; data.drop_repeated=true does not train on "
                "them"
            )
    labels: dict[int, set[str | None]] = defaultdict(set)
    copies: Counter[int] = Counter()
    for writer in writers.values():
        if any(writer.labels):
            copies.update(writer.hashes)
            for text, label in zip(writer.hashes, writer.labels, strict=True):
                labels[text].add(label)
    if count := sum(copies[text] for text, found in labels.items() if len(found) > 1):
        lines.append(f"{count:,} documents have the text of another one, and another label")
    if count := sum(writer.lengths.count(0) for writer in writers.values()):
        lines.append(f"{count:,} documents have no token")
    unknown, total = (sum(getattr(writer, name) for writer in writers.values()) for name in ("unknown_total", "total"))
    if unknown > _MANY_UNKNOWN * total:
        lines.append(
            f"{unknown / total:.0%} of the tokens are unknown; raise tokenizer.alphabet_size, choose tokenizer=bytes, "
            "or start from a model of this script"
        )
    return lines


def _label_names(writers: dict[str, _Writer]) -> list[str]:
    found = {label for writer in writers.values() for label in writer.labels}
    if found == {None}:
        return []
    if None in found:
        raise UserError("some documents have a label and some have none; label all of them or none")
    return sorted(map(str, found))


def _tags(writers: dict[str, _Writer]) -> list[str] | None:
    """Returns the sorted tags; None if the documents have no spans."""
    found = [writer.annotations for writer in writers.values()]
    if None in found:
        if found.count(None) < len(found):
            raise _mixed_spans()
        return None
    return sorted(set().union(*(each.tags() for each in found if each is not None)))


def _mixed_spans() -> UserError:
    return UserError("some documents have labeled parts and some have none; choose data of one kind")


def _texts(writers: dict[str, _Writer]) -> int:
    found = sorted(set().union(*(writer.texts for writer in writers.values())))
    if len(found) > 1:
        raise UserError(
            f"the corpus mixes documents of {' and '.join(map(str, found))} texts; all need the same number of texts"
        )
    return found[0]
