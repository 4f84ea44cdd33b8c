"""From the tokens of texts to the sequences that a classification head reads: special tokens, and what is kept of long
documents.

A document that is cut into windows is the sequences of all its windows, end to end. Each of them has ``max_length``
tokens, so that its length says how many there are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, pack
from roformer.model.configuration import LongDocuments

_HEAD = 1 / 4  # of what is kept: Sun et al. keep the first 128 and the last 382 of 510 tokens
_STRIDE = 1 / 2  # of a window: from its start to that of the next one


class SequenceInputs(TypedDict, total=False):
    """Inputs of a classifier: those of ``PackedInputs``, and ``cu_windows`` (documents + 1,) where a document has
    several sequences."""

    input_ids: Tensor
    cu_seqlens: Tensor
    document_lengths: list[int]
    cu_windows: Tensor


@dataclass(frozen=True)
class Framing:
    """How texts become sequences.

    Attributes:
        cls_token_id, sep_token_id: special tokens around texts.
        max_length: maximum number of tokens in a sequence, special tokens included.
        long_documents: what is kept of longer ones: ``head``: the first tokens; ``head_tail``: a quarter from the
            beginning, the rest from the end (Sun et al. 2019, arXiv:1905.05583); ``windows``: all of
            the only text, in windows of which each begins in the middle of the one before it or earlier.
    """

    cls_token_id: int
    sep_token_id: int
    max_length: int
    long_documents: LongDocuments = "head"

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerFast, max_length: int, long_documents: LongDocuments = "head"
    ) -> "Framing":
        """Returns the framing with the special tokens of a tokenizer."""
        return cls(int(tokenizer.cls_token_id), int(tokenizer.sep_token_id), max_length, long_documents)

    def frame(self, *texts: IntArray) -> IntArray:
        """Returns a document: [CLS] text [SEP], or [CLS] text [SEP] text [SEP]; of several texts the longest is
        truncated first. Of windows, there are several sequences."""
        kept = kept_lengths([len(text) for text in texts], self.max_length - 1 - len(texts))
        parts = [_CUTS[self.long_documents](text, length) for text, length in zip(texts, kept, strict=True)]
        return np.concatenate([self._sequence(window) for window in zip(*parts, strict=True)]).astype(np.int64)

    def _sequence(self, texts: Sequence[IntArray]) -> IntArray:
        separated = [part for text in texts for part in (text, [self.sep_token_id])]
        return np.concatenate([[self.cls_token_id], *separated])

    def pack(self, documents: Sequence[IntArray]) -> SequenceInputs:
        """Concatenates documents that ``frame`` returned."""
        windows = [np.split(document, math.ceil(len(document) / self.max_length)) for document in documents]
        packed = pack([window for of_document in windows for window in of_document])
        inputs: SequenceInputs = {
            "input_ids": packed["input_ids"],
            "cu_seqlens": packed["cu_seqlens"],
            "document_lengths": packed["document_lengths"],
        }
        if any(len(of_document) > 1 for of_document in windows):
            inputs["cu_windows"] = torch.tensor([0, *np.cumsum(list(map(len, windows))).tolist()])
        return inputs


def kept_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """Returns how many tokens of each text are kept, ``room`` in total: tokens are taken off the longest, as BERT does
    (Devlin et al. 2019, A.2)."""
    share, left = room, room
    for number, shortest in enumerate(sorted(lengths)):
        share = left // (len(lengths) - number)
        if shortest > share:
            break
        left -= shortest
    else:
        return list(lengths)
    spare = left - share * sum(length > share for length in lengths)
    kept = []
    for length in lengths:
        more = length > share and spare > 0
        kept.append(min(length, share + more))
        spare -= more
    return kept


def _head(text: IntArray, length: int) -> list[IntArray]:
    return [text[:length]]


def _head_and_tail(text: IntArray, length: int) -> list[IntArray]:
    first = math.ceil(_HEAD * length)
    return [text if len(text) <= length else np.concatenate([text[:first], text[len(text) - length + first :]])]


def _windows(text: IntArray, length: int) -> list[IntArray]:
    """The last window ends with the text, so that all have the same length."""
    last, stride = max(len(text) - length, 0), math.ceil(_STRIDE * max(length, 1))
    return [text[min(start, last) :][:length] for start in range(0, last + stride, stride)]


_CUTS: dict[LongDocuments, Callable[[IntArray, int], list[IntArray]]] = {
    "head": _head,
    "head_tail": _head_and_tail,
    "windows": _windows,
}
