"""Measures the probabilities of one classifier on the whole test split."""

import re

import numpy as np
from scipy.special import log_softmax

from roformer.sections.calibration import HardDocument, Metrics
from roformer.sections.classification import FAMILY
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks.classification import Classification

# Tokenizers put a blank between tokens, which Chinese texts do not have.
_BLANK = re.compile(r"(?<=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]) (?=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef])")
_TOKENS, _CHARACTERS = 60, 100  # of an excerpt


@EVALUATORS.register("calibration")
class Probabilities(Evaluator[Classification, Metrics]):
    version = 1
    families = (FAMILY,)
    metrics = Metrics

    @property
    def settings(self) -> tuple[object, ...]:
        return (*super().settings, self.config.hardest_documents)

    def evaluate(self, run: LoadedRun[Classification]) -> Metrics:
        scores, _ = run.task.score(run.model, "test", self.config.batch_tokens)
        logarithms = log_softmax(scores[:, 0].astype(np.float64), axis=-1)
        labels, predictions = run.task.labels("test"), logarithms.argmax(-1)
        documents = np.arange(len(labels))
        losses, names = -logarithms[documents, labels], run.task.corpus.label_names
        return Metrics(
            tuple(np.exp(logarithms.max(-1)).tolist()),
            tuple((predictions == labels).tolist()),
            tuple(
                HardDocument(
                    number,
                    excerpt(run.task, number),
                    names[labels[number]],
                    float(np.exp(logarithms[number, labels[number]])),
                    names[predictions[number]],
                    float(np.exp(logarithms[number, predictions[number]])),
                    float(losses[number]),
                )
                for number in np.argsort(-losses, kind="stable")[: self.config.hardest_documents].tolist()
            ),
        )


def excerpt(task: Classification, number: int) -> str:
    """Returns the first words of a test document, as its tokens say them."""
    text = str(task.tokenizer.decode(task.corpus.splits["test"].document(number)[:_TOKENS].tolist()))
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    words = _BLANK.sub("", words)
    return words if len(words) <= _CHARACTERS else words[: _CHARACTERS - 1] + "\u2026"
