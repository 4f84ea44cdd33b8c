"""The answers that a model finds in windows of contexts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray
from roformer.data.sampler import batches_by_length
from roformer.data.windows import Windows
from roformer.runtime.inference import evaluating

NO_ANSWER = 0  # both ends at [CLS]


@dataclass(frozen=True)
class QuestionWindows:
    """Questions, each with a part of its context, as a model reads them.

    Attributes:
        tokens: of all documents, each a question, [SEP] and a context.
        windows: into which they are cut.
        tokenizer: has the special tokens.
    """

    tokens: IntArray
    windows: Windows
    tokenizer: PreTrainedTokenizerFast

    def inputs(self, numbers: list[int]) -> dict[str, Any]:
        """Pads [CLS] question [SEP] part of the context [SEP] at the right."""
        lengths = self.lengths()[numbers]
        input_ids = np.full((len(numbers), lengths.max()), self.tokenizer.pad_token_id, dtype=np.int64)
        cls, sep = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        for row, number in enumerate(numbers):
            question, context = (
                self.tokens[start:stop]
                for start, stop in (self.windows.questions[number], self.windows.contexts[number])
            )
            input_ids[row, : lengths[row]] = np.concatenate([cls, question, sep, context, sep])
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": (torch.arange(lengths.max()) < torch.from_numpy(lengths)[:, None]).long(),
        }

    def lengths(self) -> NDArray[np.int64]:
        """Returns the (windows,) numbers of tokens, special tokens included."""
        return self.windows.lengths()

    def context_start(self, number: int) -> int:
        """Returns the place of the context in a window: after [CLS], the question and [SEP]."""
        start, stop = self.windows.questions[number]
        return int(stop - start) + 2


class Answers:
    """The best answer to each question, over all of its windows.

    It is the part of the context with the highest sum of both scores in any window; the empty answer, where it is
    allowed and [CLS] scores higher in every window.

    Args:
        questions: what the model reads.
        documents: number of questions.
        max_answer_length: maximum number of tokens in an answer.
        may_be_empty: whether a question may have no answer.
    """

    def __init__(
        self, questions: QuestionWindows, documents: int, *, max_answer_length: int, may_be_empty: bool
    ) -> None:
        self.questions, self.max_answer_length, self.may_be_empty = questions, max_answer_length, may_be_empty
        self._tokens = np.zeros((documents, 2), dtype=np.int64)
        self._scores, self._empty_scores = np.full(documents, -np.inf), np.full(documents, np.inf)
        self._probabilities, self._empty_probabilities = np.zeros(documents), np.zeros(documents)

    def find(self, model: nn.Module, inputs: Callable[[list[int]], Mapping[str, Any]], batch_tokens: int) -> float:
        """Reads all windows, in batches of similar length.

        Args:
            model: with a head for answers.
            inputs: returns those of the model for windows by their numbers.
            batch_tokens: maximum number of tokens in a forward pass, padding included.

        Returns:
            the sum of the losses where there are labels.
        """
        loss, lengths = 0.0, self.questions.lengths()
        with evaluating(model) as on_device:
            for batch in batches_by_length(lengths, batch_tokens, padded=True):
                outputs = model(**on_device(inputs(batch)))
                loss += 0.0 if outputs.loss is None else outputs.loss.item()
                starts, ends = outputs.start_logits.float().cpu(), outputs.end_logits.float().cpu()
                for row, number in enumerate(batch):
                    self._read(number, starts[row, : lengths[number]], ends[row, : lengths[number]])
        return loss

    def _read(self, number: int, starts: Tensor, ends: Tensor) -> None:
        """Keeps what the scores of a window are better at than those before."""
        document, (start, stop) = self.questions.windows.documents[number], self.questions.windows.contexts[number]
        if (score := float(starts[NO_ANSWER] + ends[NO_ANSWER])) < self._empty_scores[document]:
            self._empty_scores[document] = score
            self._empty_probabilities[document] = _probability(starts, NO_ANSWER) * _probability(ends, NO_ANSWER)
        if start == stop:
            return
        offset = self.questions.context_start(number)
        inside = slice(offset, offset + int(stop - start))
        score, first, last = best_part(starts[inside], ends[inside], self.max_answer_length)
        if score > self._scores[document]:
            self._scores[document], self._tokens[document] = score, (start + first, start + last)
            self._probabilities[document] = _probability(starts, offset + first) * _probability(ends, offset + last)

    def places(self, of_tokens: NDArray[np.int32]) -> NDArray[np.int64]:
        """Returns the (documents, 2) start and exclusive end of each answer, in characters; 0 and 0 for none.

        Args:
            of_tokens: (tokens, 2) likewise, of the tokens.
        """
        found = np.stack([of_tokens[self._tokens[:, 0], 0], of_tokens[self._tokens[:, 1], 1]], axis=1)
        return np.where(self._is_empty()[:, None], 0, found).astype(np.int64)

    def probabilities(self) -> NDArray[np.float64]:
        """Returns the (documents,) products of the probabilities of both ends, in the window of the answer."""
        return np.where(self._is_empty(), self._empty_probabilities, self._probabilities)

    def _is_empty(self) -> NDArray[np.bool_]:
        return np.isneginf(self._scores) | (self.may_be_empty & (self._empty_scores > self._scores))


def best_part(starts: Tensor, ends: Tensor, max_length: int) -> tuple[float, int, int]:
    """Returns the highest sum of a start's and an end's score, and the places of both.

    Args:
        starts, ends: (length,) scores of each token.
        max_length: maximum number of tokens from the start to the end.
    """
    padded = nn.functional.pad(ends, (0, max_length - 1), value=-torch.inf)
    sums = starts[:, None] + padded.unfold(0, max_length, 1)  # (length, max_length): by start and length
    start, more = divmod(int(sums.argmax()), max_length)
    return float(sums[start, more]), start, start + more


def _probability(scores: Tensor, place: int) -> float:
    return float(scores.softmax(-1)[place])
