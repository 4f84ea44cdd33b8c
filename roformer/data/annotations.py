"""Labeled parts of texts on disk: the text, where its tokens lie in it, and its spans."""

from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roformer.data.npy import GrowingArray
from roformer.data.sources import Document

Place = tuple[int, int]
"""Start and exclusive end of a token in its text, in characters."""


@dataclass(frozen=True)
class Annotations:
    """The last text of each document of a split, with its spans. All places are in characters.

    Attributes:
        texts: (bytes,) uint8, memory-mapped: UTF-8.
        text_offsets: (documents + 1,) int64; the text of document i is ``texts[text_offsets[i]:text_offsets[i + 1]]``.
        places: (tokens, 2) int32, memory-mapped: start and exclusive end in that text of each token of the split; 0
            and 0 for tokens of other texts.
        spans: (spans, 3) int64: start, exclusive end, and index into the corpus's ``tags``.
        span_offsets: (documents + 1,) int64, likewise.
    """

    texts: NDArray[np.uint8]
    text_offsets: NDArray[np.int64]
    places: NDArray[np.int32]
    spans: NDArray[np.int64]
    span_offsets: NDArray[np.int64]

    def text(self, index: int) -> str:
        """Returns the last text of document ``index``."""
        return self.texts[self.text_offsets[index] : self.text_offsets[index + 1]].tobytes().decode()

    def spans_of(self, index: int) -> NDArray[np.int64]:
        """Returns the (k, 3) spans of document ``index``, in the order of its source."""
        return self.spans[self.span_offsets[index] : self.span_offsets[index + 1]]


class AnnotationWriter:
    """Writes the annotations of one split, document by document.

    Args:
        folder: of the corpus.
        split: its name.
        files: closes the files.
    """

    def __init__(self, folder: Path, split: str, files: ExitStack) -> None:
        self.folder, self.split = folder, split
        self._texts, self._places = (
            GrowingArray(files.enter_context(_file(folder, split, name).open("wb")), np.dtype(dtype), shape)
            for name, dtype, shape in (("texts", np.uint8, ()), ("places", np.int32, (2,)))
        )
        self._sizes, self._counts, self._spans = array("q"), array("q"), array("q")
        self._numbers: dict[str, int] = {}  # of the tags, as they come

    def add(self, document: Document, places: Sequence[Place]) -> None:
        text, spans = np.frombuffer(document.texts[-1].encode(), dtype=np.uint8), document.spans or ()
        self._texts.append(text)
        self._places.append(np.asarray(places, dtype=np.int32))
        self._sizes.append(len(text))
        self._counts.append(len(spans))
        for start, end, tag in spans:
            self._spans.extend((start, end, self._numbers.setdefault(tag, len(self._numbers))))

    def tags(self) -> set[str]:
        """Returns the tags of the spans so far."""
        return set(self._numbers)

    def finish(self, tags: Sequence[str]) -> None:
        """Completes the files; the number of a tag is its place in ``tags``."""
        self._texts.finish()
        self._places.finish()
        spans = np.asarray(self._spans, dtype=np.int64).reshape(-1, 3)
        places = np.asarray([tags.index(tag) for tag in self._numbers], dtype=np.int64)
        spans[:, 2] = places[spans[:, 2]] if len(spans) else 0
        for name, value in (
            ("spans", spans),
            ("text_offsets", offsets(self._sizes)),
            ("span_offsets", offsets(self._counts)),
        ):
            np.save(_file(self.folder, self.split, name), value)


def load_annotations(folder: Path, split: str) -> Annotations | None:
    """Opens what an ``AnnotationWriter`` wrote; None if the documents of the split have no spans."""
    if not _file(folder, split, "spans").exists():
        return None
    mapped: dict[str, Any] = {name: np.load(_file(folder, split, name), mmap_mode="r") for name in ("texts", "places")}
    read: dict[str, Any] = {
        name: np.load(_file(folder, split, name)) for name in ("spans", "text_offsets", "span_offsets")
    }
    return Annotations(**mapped, **read)


def offsets(lengths: Iterable[int]) -> NDArray[np.int64]:
    """Returns the (items + 1,) ends of items of these lengths, from 0."""
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64)))).astype(np.int64)


def _file(folder: Path, split: str, name: str) -> Path:
    return folder / f"{split}.{name}.npy"
