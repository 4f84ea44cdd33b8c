"""Cuts long contexts of questions into windows that overlap, so that each answer is whole in one of them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_TOKENS = 3
"""[CLS] before the question, and [SEP] after it and after the window."""


@dataclass(frozen=True)
class Windows:
    """The windows of a split, in the order of its documents.

    Attributes:
        documents: (windows,) number of the document.
        questions: (windows, 2) start and exclusive end of the question, in the split's tokens.
        contexts: (windows, 2) start and exclusive end of the part of the context, likewise.
    """

    documents: NDArray[np.int64]
    questions: NDArray[np.int64]
    contexts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.documents)

    def lengths(self) -> NDArray[np.int64]:
        """Returns the (windows,) numbers of tokens, special tokens included."""
        lengths: NDArray[np.int64] = np.diff(self.questions)[:, 0] + np.diff(self.contexts)[:, 0] + FRAME_TOKENS
        return lengths


def plan_windows(
    tokens: NDArray[np.integer[Any]],
    offsets: NDArray[np.int64],
    separator: int,
    *,
    max_length: int,
    max_question_length: int,
    stride: int,
) -> Windows:
    """Cuts the context of each document (question [SEP] context); each has one window at least.

    Args:
        tokens: of a split.
        offsets: (documents + 1,); document i is ``tokens[offsets[i]:offsets[i + 1]]``.
        separator: id of [SEP].
        max_length: maximum number of tokens in a window with its question, special tokens included.
        max_question_length: maximum number of tokens of the question; the rest is cut.
        stride: tokens that a window shares with the one before.
    """
    documents, questions, contexts = list[int](), list[tuple[int, int]](), list[tuple[int, int]]()
    for number, (begin, end) in enumerate(pairwise(offsets.tolist())):
        middle = begin + int(np.argmax(tokens[begin:end] == separator))
        question = (begin, min(middle, begin + max_question_length))
        room = max_length - FRAME_TOKENS - (question[1] - begin)
        last = max(middle + 2, end - stride)  # from where on a window would hold nothing new
        for start in range(middle + 1, last, room - stride):
            documents.append(number)
            questions.append(question)
            contexts.append((start, min(start + room, end)))
    return Windows(*(np.array(each, dtype=np.int64) for each in (documents, questions, contexts)))
