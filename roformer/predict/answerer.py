"""Answers to questions about texts, by a model of ``task=question_answering``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from roformer.data.annotations import offsets
from roformer.data.tokenize import place_encoder, token_encoder
from roformer.data.windows import FRAME_TOKENS, plan_windows
from roformer.errors import UserError
from roformer.model import RoFormerForQuestionAnswering
from roformer.predict._base import Document, Predictor, Reading
from roformer.predict.export import Export
from roformer.tasks.answers import Answers, QuestionWindows

_SETTINGS = {"max_question_length", "stride", "max_answer_length", "may_be_empty"}


class Answerer(Predictor):
    """The part of each context that answers its question, or the empty answer where the training data had some.

    Raises:
        UserError: if the export does not say how contexts are read, or they do not fit into ``max_length``.
    """

    model_class = RoFormerForQuestionAnswering

    def __init__(self, export: Export, reading: Reading) -> None:
        self.settings: dict[str, Any] = export.stored.get("answers") or {}
        if missing := sorted(_SETTINGS - self.settings.keys()):
            raise UserError(
                f"{export.folder}/config.json does not say how contexts are read: 'answers' has no {missing[0]} (an "
                "earlier version, or another program, wrote it); train again, or add 'answers' with "
                f"{', '.join(sorted(_SETTINGS))}"
            )
        super().__init__(export, reading)
        least = self.settings["max_question_length"] + self.settings["stride"] + FRAME_TOKENS + 1
        if self.max_length < least:
            raise UserError(
                f"--max-length must be at least {least} (max_question_length + stride + {FRAME_TOKENS + 1}), got "
                f"{self.max_length}"
            )

    def statements(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        questions, contexts = ([texts[place] for texts in documents] for place in (0, 1))
        separator = int(self.tokenizer.sep_token_id)
        tokens, places, sizes = list[int](), list[tuple[int, int]](), list[int]()
        asked, read = token_encoder(self.tokenizer)(questions), place_encoder(self.tokenizer)(contexts)
        for question, context in zip(asked, read, strict=True):
            tokens += [*question, separator, *context.ids]
            places += [*[(0, 0)] * (len(question) + 1), *context.places]
            sizes.append(len(question) + 1 + len(context.ids))
        ids = np.array(tokens, dtype=np.int64)
        limits = {name: self.settings[name] for name in ("max_question_length", "stride")}
        windows = plan_windows(ids, offsets(sizes), separator, max_length=self.max_length, **limits)
        answers = Answers(
            QuestionWindows(ids, windows, self.tokenizer),
            len(documents),
            max_answer_length=self.settings["max_answer_length"],
            may_be_empty=self.settings["may_be_empty"],
        )
        with torch.inference_mode(), self.autocast:
            answers.find(self.model, answers.questions.inputs, self.batch_tokens)
        found = zip(contexts, answers.places(np.array(places)).tolist(), answers.probabilities().tolist(), strict=True)
        return [_statement(context, start, end, score) for context, (start, end), score in found]


def _statement(context: str, start: int, end: int, score: float) -> dict[str, Any]:
    has_answer = end > start
    place = {"start": start if has_answer else None, "end": end if has_answer else None}
    return {"answer": context[start:end], **place, "score": score}
