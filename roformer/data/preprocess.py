"""From documents to memory-mapped tokens: splitting, tokenizing, and the cache on disk."""

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.data._base import SPLITS, Document, Source
from roformer.data.cache import content_key
from roformer.errors import UserError
from roformer.io import atomic_folder

FORMAT = 2  # raise it when the same documents would give other files
_BATCH = 512  # documents tokenized at once
_PIECE_ENDS = re.compile(r"(?<=[\n。])")


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Raises UserError unless both are shares of the corpus that leave something to train on."""
    for name, value in (("validation", validation_fraction), ("test", test_fraction)):
        if not 0 <= value < 1:
            raise UserError(f"data.{name}_fraction={value} is not a share of the corpus (allowed: 0 <= x < 1)")
    if validation_fraction + test_fraction >= 1:
        raise UserError(
            f"data.validation_fraction={validation_fraction} and data.test_fraction={test_fraction} leave nothing to "
            "train on; their sum has to be less than 1"
        )


def split_of(document: Document, validation_fraction: float, test_fraction: float, provided: Set[str]) -> str:
    """Returns the split of a document: its own, or for training text the one that a hash of the text draws.

    The same text gets the same split in every corpus and every run, wherever it stands. A split in ``provided`` is
    not carved again.
    """
    if document.split in ("validation", "test"):
        return document.split
    digest = hashlib.blake2b("\0".join(document.texts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    draw = int.from_bytes(digest, "big") / 2**64  # uniform on [0, 1)
    test = 0.0 if "test" in provided else test_fraction
    validation = 0.0 if "validation" in provided else validation_fraction
    if draw < test:
        return "test"
    return "validation" if draw < test + validation else "train"


def split_documents(
    source: Source, *, validation_fraction: float, test_fraction: float
) -> Iterator[tuple[str, Document]]:
    """Yields (split, document) for every document of ``source``, in its order.

    Raises:
        UserError: if the fractions are no shares, or the source has no documents.
    """
    check_fractions(validation_fraction, test_fraction)
    provided = source.provided_splits()
    for document in source.documents():
        yield split_of(document, validation_fraction, test_fraction, provided), document


@dataclass(frozen=True)
class TokenizedSplit:
    """The documents of one split as token ids, without special tokens but for a [SEP] between two texts of a document.

    Attributes:
        tokens: (total,) uint16 or uint32, memory-mapped.
        offsets: (documents + 1,) int64; document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        labels: (documents,) int64 indices into the corpus's ``label_names``, or None for text without labels.
    """

    tokens: NDArray[np.unsignedinteger[Any]]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> NDArray[np.unsignedinteger[Any]]:
        """Returns the (length,) token ids of document ``index``, still memory-mapped."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class TokenizedCorpus:
    """A corpus, split and tokenized.

    Attributes:
        splits: by name; "train" is always there, the others where asked for or provided.
        label_names: sorted, of all splits; empty for text without labels.
        texts: how many each document has, with a [SEP] between one and the next.
        fingerprint: names the documents, the tokenizer and the split, and so the content of all of it.
        folder: where it lies on disk.
    """

    splits: dict[str, TokenizedSplit]
    label_names: tuple[str, ...]
    texts: int
    fingerprint: str
    folder: Path


def tokenize_corpus(
    source: Source,
    tokenizer: PreTrainedTokenizerFast,
    *,
    cache_dir: Path,
    validation_fraction: float,
    test_fraction: float,
) -> TokenizedCorpus:
    """Tokenizes every document once; a second call with the same content only opens the files.

    Memory stays small whatever the size of the corpus: batches go to disk as they come. Two processes may do the
    same at once: the one that is first wins.

    Raises:
        UserError: if there are no documents, a split is empty, or only some documents have a label, or a second text.
    """
    check_fractions(validation_fraction, test_fraction)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # state that an earlier call may have left behind
    backend.no_padding()
    backend.encode_special_tokens = True  # a "[SEP]" that somebody wrote is text
    key = content_key(
        "tokens", FORMAT, source.fingerprint(), tokenizer_key(tokenizer), validation_fraction, test_fraction
    )
    folder = cache_dir / f"tokens-{key}"
    if not folder.is_dir():
        documents = split_documents(source, validation_fraction=validation_fraction, test_fraction=test_fraction)
        asked = [name for name, value in (("validation", validation_fraction), ("test", test_fraction)) if value > 0]
        with atomic_folder(folder) as draft:
            expected = {"train", *asked, *source.provided_splits()}
            _write(draft, documents, tokenizer, expected=expected, fingerprint=key)
    return load_corpus(folder)


_AROUND = ("post_processor", "decoder", "padding", "truncation")  # of a tokenizer.json


def tokenizer_key(tokenizer: PreTrainedTokenizerFast) -> str:
    """Names which tokens a tokenizer makes of a text; not what it puts around them, or how they become text again."""
    backend = tokenizer.backend_tokenizer
    if not isinstance(tokenizer, RoFormerTokenizer):
        stored = json.loads(backend.to_str())
        return content_key({key: value for key, value in stored.items() if key not in _AROUND})
    plain = Tokenizer(backend.model)  # words are split in Python, which cannot be written down
    plain.normalizer = backend.normalizer
    added = [[number, str(token)] for number, token in sorted(tokenizer.added_tokens_decoder.items())]
    return content_key("words", version("rjieba"), version("transformers"), plain.to_str(), added)


def load_corpus(folder: Path) -> TokenizedCorpus:
    """Opens what ``tokenize_corpus`` wrote."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    splits = {}
    for name in meta["splits"]:
        labels = folder / f"{name}.labels.npy"
        splits[name] = TokenizedSplit(
            tokens=np.load(folder / f"{name}.tokens.npy", mmap_mode="r"),
            offsets=np.load(folder / f"{name}.offsets.npy"),
            labels=np.load(labels) if labels.exists() else None,
        )
    return TokenizedCorpus(splits, tuple(meta["label_names"]), meta.get("texts", 1), meta["fingerprint"], folder)


@dataclass
class _Writer:
    """Appends the documents of one split to an ``.npy`` file whose length is known only at the end."""

    file: BinaryIO
    dtype: np.dtype[Any]
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    labels: list[str | None] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)
    characters: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        self._header(0)
        self._start = self.file.tell()

    def add(self, document: Document, ids: list[int]) -> None:
        self.file.write(np.asarray(ids, dtype=self.dtype).tobytes())
        self.lengths.append(len(ids))
        self.labels.append(document.label)
        self.texts.add(len(document.texts))
        self.characters += sum(map(len, document.texts))
        self.total += len(ids)

    def finish(self) -> NDArray[np.int64]:
        """Completes the header; returns the (documents + 1,) offsets."""
        self.file.seek(0)
        self._header(self.total)
        assert self.file.tell() == self._start  # numpy pads the header so that the length can grow
        return np.concatenate(([0], np.cumsum(np.asarray(self.lengths, dtype=np.int64)))).astype(np.int64)

    def _header(self, total: int) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (total,)}
        np.lib.format.write_array_header_1_0(self.file, header)


def _progress() -> Progress:
    """Counts documents on a terminal, and keeps silent elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _encoded(
    documents: Iterator[tuple[str, Document]], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[list[tuple[str, Document]], list[list[int]]]]:
    """Yields batches of documents and their tokens: one is tokenized, on all cores, while another is written."""
    separator: Any = tokenizer.sep_token_id  # of some it is None, with which documents have one text
    encode = _encoder(tokenizer)
    with ThreadPoolExecutor(1) as pool:
        batch: list[tuple[str, Document]] = []
        encodings: Future[list[list[int]]] | None = None
        while True:
            following = list(islice(documents, _BATCH))
            ahead = pool.submit(encode, [text for _, document in following for text in document.texts])
            if encodings is not None:
                texts = iter(encodings.result())
                yield batch, [_joined([next(texts) for _ in document.texts], separator) for _, document in batch]
            if not following:
                return
            batch, encodings = following, ahead


def _encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[list[str]], list[list[int]]]:
    """Returns what gives the tokens of texts."""
    encode = partial(tokenizer.backend_tokenizer.encode_batch_fast, add_special_tokens=False)
    if not isinstance(tokenizer, RoFormerTokenizer):
        return lambda texts: [encoding.ids for encoding in encode(texts)]

    def by_piece(texts: list[str]) -> list[list[int]]:
        # a word costs time by the length of its text: cut where no word goes on
        pieces = [_PIECE_ENDS.split(text) for text in texts]
        encodings = iter(encode([piece for of_text in pieces for piece in of_text]))
        return [[token for _ in of_text for token in next(encodings).ids] for of_text in pieces]

    return by_piece


def _joined(texts: list[list[int]], separator: int) -> list[int]:
    return [*texts[0], *(token for text in texts[1:] for token in (separator, *text))]


def _write(
    folder: Path,
    documents: Iterator[tuple[str, Document]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    expected: Set[str],
    fingerprint: str,
) -> None:
    dtype = np.dtype(np.uint16 if max(tokenizer.get_vocab().values()) < 2**16 else np.uint32)
    with ExitStack() as files:
        writers: dict[str, _Writer] = {}
        with _progress() as progress:
            task = progress.add_task("tokenizing", total=None)
            for batch, tokens in _encoded(documents, tokenizer):
                for (split, document), ids in zip(batch, tokens, strict=True):
                    if split not in writers:
                        file = files.enter_context((folder / f"{split}.tokens.npy").open("wb"))
                        writers[split] = _Writer(file, dtype)
                    writers[split].add(document, ids)
                progress.advance(task, len(batch))
        _check_splits(writers, expected)
        label_names = _label_names(writers)
        for split, writer in writers.items():
            np.save(folder / f"{split}.offsets.npy", writer.finish())
            if label_names:
                indices = {name: index for index, name in enumerate(label_names)}
                labels = [indices[label] for label in writer.labels if label is not None]
                np.save(folder / f"{split}.labels.npy", np.asarray(labels, dtype=np.int64))
    meta = {
        "fingerprint": fingerprint,
        "label_names": label_names,
        "texts": _texts(writers),
        "splits": {
            name: {
                "documents": len(writers[name].lengths),
                "characters": writers[name].characters,
                "tokens": writers[name].total,
            }
            for name in SPLITS
            if name in writers
        },
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def _check_splits(writers: dict[str, _Writer], expected: Set[str]) -> None:
    if not writers:
        raise UserError("no documents in the corpus: check data.path or data.min_characters")
    for split in SPLITS:
        if split not in expected or (split in writers and writers[split].total):
            continue
        remedy = (
            "lower data.validation_fraction, or name a file train*"
            if split == "train"
            else f"raise data.{split}_fraction"
        )
        documents = sum(len(writer.lengths) for writer in writers.values())
        raise UserError(f"the {split} split of {documents} documents came out empty ({remedy}, or give more of them)")


def _label_names(writers: dict[str, _Writer]) -> list[str]:
    found = {label for writer in writers.values() for label in writer.labels}
    if found == {None}:
        return []
    if None in found:
        raise UserError("some documents of the corpus have a label and some have none; give all of them one, or none")
    return sorted(map(str, found))


def _texts(writers: dict[str, _Writer]) -> int:
    found = sorted(set().union(*(writer.texts for writer in writers.values())))
    if len(found) > 1:
        raise UserError(f"documents of {' and '.join(map(str, found))} texts in one corpus; give all of them as many")
    return found[0]
