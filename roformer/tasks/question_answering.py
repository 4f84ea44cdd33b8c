"""Extractive question answering: where in a text does the answer stand? (SQuAD: Rajpurkar et al. 2016 and 2018.)"""

import re
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.annotations import Annotations
from roformer.data.token_store import TokenizedCorpus, TokenizedSplit
from roformer.data.windows import FRAME_TOKENS, plan_windows
from roformer.errors import UserError
from roformer.extras import require
from roformer.model import RoFormerForQuestionAnswering
from roformer.tasks._base import TASKS, Batch, Task
from roformer.tasks.answers import NO_ANSWER, Answers, QuestionWindows

_CJK = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


@TASKS.register("question_answering")
class QuestionAnswering(Task):
    """Predicts the first and the last token of the answer. Long contexts are read in windows that overlap.

    A window without the answer has both ends at [CLS]. The prediction of a question is the part of its context with
    the highest sum of both scores in any window. If the training data have unanswerable questions, it is the empty
    answer where [CLS] scores higher in every window.

    Args:
        max_length: maximum number of tokens in a window with its question, special tokens included.
        max_question_length: maximum number of tokens in a question; the rest is cut.
        stride: tokens of the context that a window shares with the one before.
        max_answer_length: maximum number of tokens in a predicted answer.

    Raises:
        UserError: if the data has no questions, or the lengths leave no room for a context.
    """

    title, unit, family = "Question answering", "window", "downstream"
    model_class = RoFormerForQuestionAnswering
    best_metric = "validation_f1"
    greater_is_better = True

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        max_length: int,
        max_question_length: int,
        stride: int,
        max_answer_length: int,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        lengths = {"max_length": max_length, "max_question_length": max_question_length, "stride": stride}
        self.check({**lengths, "max_answer_length": max_answer_length})
        if corpus.texts != 2 or corpus.splits["train"].annotations is None:
            raise UserError("task=question_answering needs questions about texts: data=questions with data.path")
        self.max_tokens = max_length
        separator = int(tokenizer.sep_token_id)
        self.questions = {
            name: QuestionWindows(
                split.tokens, plan_windows(split.tokens, split.offsets, separator, **lengths), tokenizer
            )
            for name, split in corpus.splits.items()
        }
        self.answer_tokens = {name: _answer_tokens(split) for name, split in corpus.splits.items()}
        self.rows = len(self.questions["train"].windows)
        self.max_answer_length = max_answer_length
        self.may_be_empty = not np.diff(self.texts("train").span_offsets).all()
        self.reading = {"max_question_length": max_question_length, "stride": stride}

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        require("torchmetrics", "task=question_answering")
        for key in ("max_question_length", "max_answer_length"):
            if settings[key] < 1:
                raise UserError(f"task.{key} must be at least 1, got {settings[key]}")
        room = settings["max_length"] - settings["max_question_length"] - FRAME_TOKENS
        if room < 1:
            raise UserError(
                f"task.max_length={settings['max_length']} leaves no room for a context after "
                f"task.max_question_length={settings['max_question_length']} and {FRAME_TOKENS} special tokens; raise "
                "it, or lower task.max_question_length"
            )
        if not 0 <= settings["stride"] < room:
            raise UserError(
                f"task.stride must be at least 0 and below {room}, the tokens of a context in a window (max_length - "
                f"max_question_length - {FRAME_TOKENS}), got {settings['stride']}"
            )

    def texts(self, split: str) -> Annotations:
        """Returns the contexts of a split with the answers."""
        annotations = self.corpus.splits[split].annotations
        assert annotations is not None  # all splits have some, or none has
        return annotations

    def model_settings(self) -> dict[str, Any]:
        answering = {"max_answer_length": self.max_answer_length, "may_be_empty": self.may_be_empty}
        return {"answers": {**self.reading, **answering}}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        numbers = self.batch_row_numbers(step, batch_size)[share::shares]
        return Batch(self._collate("train", numbers), int(self.questions["train"].lengths()[numbers].sum()))

    def _collate(self, split: str, numbers: list[int]) -> dict[str, Any]:
        ends = np.array([self._ends(split, number) for number in numbers])
        return {
            **self.questions[split].inputs(numbers),
            "start_positions": torch.from_numpy(ends[:, 0]),
            "end_positions": torch.from_numpy(ends[:, 1]),
        }

    def _ends(self, split: str, number: int) -> tuple[int, int]:
        """Returns the places in a window of the first and the last token of the first answer, if it is whole there."""
        windows = self.questions[split].windows
        (start, stop), (first, last) = windows.contexts[number], self.answer_tokens[split][windows.documents[number]]
        if not start <= first <= last < stop:
            return NO_ANSWER, NO_ANSWER
        offset = self.questions[split].context_start(number) - start
        return int(offset + first), int(offset + last)

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[list[str], float]:
        """Returns the predicted answer of each document of a split, and the mean loss per window in nats."""
        questions, texts = self.questions[split], self.texts(split)
        answers = Answers(
            questions,
            len(self.corpus.splits[split]),
            max_answer_length=self.max_answer_length,
            may_be_empty=self.may_be_empty,
        )
        items = len(questions.windows)
        loss = answers.find(
            model, lambda numbers: {**self._collate(split, numbers), "num_items_in_batch": items}, batch_tokens
        )
        places = answers.places(texts.places).tolist()
        return [texts.text(number)[start:end] for number, (start, end) in enumerate(places)], loss

    def answers(self, split: str) -> list[list[str]]:
        """Returns the right answers of each document of a split; one empty answer where it is unanswerable."""
        texts, found = self.texts(split), []
        for number in range(len(self.corpus.splits[split])):
            text = texts.text(number)
            found.append([text[start:end] for start, end, _ in texts.spans_of(number)] or [""])
        return found

    def scores(self, split: str, predictions: list[str]) -> dict[str, NDArray[np.float64]]:
        """Returns for each document of a split SQuAD's F1 and exact match, the highest of all right answers.

        Each Chinese or Japanese character is a word. Punctuation does not count.
        """
        from torchmetrics.functional.text import squad

        found = []
        for prediction, answers in zip(predictions, self.answers(split), strict=True):
            right: Any = {"text": [_words(answer) for answer in answers], "answer_start": [0] * len(answers)}
            score = squad({"prediction_text": _words(prediction), "id": ""}, {"answers": right, "id": ""})
            found.append({name: float(percent) / 100 for name, percent in score.items()})
        return {name: np.array([each[name] for each in found]) for name in ("f1", "exact_match")}

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Returns the loss (nats per window), and the means of the ``scores`` of a split."""
        predictions, loss = self.predict(model, split, batch_tokens)
        scores = self.scores(split, predictions)
        return {f"{split}_loss": loss, **{f"{split}_{name}": float(each.mean()) for name, each in scores.items()}}


def _answer_tokens(split: TokenizedSplit) -> NDArray[np.int64]:
    """Returns (documents, 2) numbers in the split of the first and the last token of the first answer; -1 and -1 if
    there is none."""
    texts, found = split.annotations, np.full((len(split), 2), -1, dtype=np.int64)
    assert texts is not None  # as of all splits
    for number, (start, stop) in enumerate(pairwise(split.offsets.tolist())):
        places, spans = texts.places[start:stop], texts.spans_of(number)
        if len(spans):
            first = np.searchsorted(places[:, 1], spans[0, 0], side="right")
            last = np.searchsorted(places[:, 0], spans[0, 1], side="left") - 1
            found[number] = (start + first, start + last) if first <= last else -1
    return found


def _words(text: str) -> str:
    """Returns a text with blanks around each Chinese or Japanese character, without punctuation that is not ASCII."""
    kept = (character for character in text if character.isascii() or unicodedata.category(character)[0] != "P")
    return _CJK.sub(r" \1 ", "".join(kept))
