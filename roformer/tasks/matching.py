"""Text-triplet matching: which of B and C is more similar to A? (RoFormer paper, section 4.5.4: CAIL2019-SCM.)"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.errors import UserError
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import SequenceTask, Text


@TASKS.register("matching")
class Matching(SequenceTask):
    """Scores the pairs (A, B) and (A, C) of a triplet independently; the target is 1 for the similar pair, else 0.

    The prediction is the pair with the higher score, as in the authors' fine-tuning script. The label of a document is
    "B" or "C".

    Args:
        max_length, pooling, classifier_dropout: as in ``SequenceTask``.

    Raises:
        UserError: if documents do not have three texts, another label occurs, or as in ``SequenceTask``.
    """

    title, unit, family = "Text-triplet matching", "text pair", "downstream"

    best_metric = "validation_accuracy"
    greater_is_better = True
    problem_type = "multi_label_classification"
    candidates: ClassVar[tuple[str, ...]] = ("B", "C")

    def check_data(self) -> None:
        if self.corpus.texts != 1 + len(self.candidates):
            raise UserError(
                f"matching needs three texts per document, the data has {self.corpus.texts}; use data=labeled with "
                "data.text_column=[A,B,C]"
            )
        if strange := set(self.corpus.label_names) - set(self.candidates):
            raise UserError(
                f"matching needs labels B and C (the text more similar to A), found '{min(strange)}'; change "
                "data.label_column"
            )

    def model_settings(self) -> dict[str, Any]:
        return {**super().model_settings(), "id2label": {0: "near"}, "label2id": {"near": 0}}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size * len(self.candidates)

    @staticmethod
    def sequences_of(texts: Sequence[Text]) -> list[tuple[Text, ...]]:
        first, *others = texts
        return [(first, other) for other in others]

    @staticmethod
    def statement(logits: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
        """The probabilities are those of two pairs to be near, and so need not add up to 1."""
        scores = logits[:, 0].astype(np.float64)
        probabilities = (1 / (1 + np.exp(-scores))).tolist()
        candidates = Matching.candidates
        return {
            "label": candidates[int(scores.argmax())],
            "probabilities": dict(zip(candidates, probabilities, strict=True)),
        }

    def targets(self, split: str, index: int) -> list[float]:
        near = self.corpus.label_names[self.labels(split)[index]]
        return [float(name == near) for name in self.candidates]

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.int64], float]:
        """Returns the (documents,) predicted candidates of a split (0 for B, 1 for C), and the mean loss per pair in
        nats."""
        scores, loss = self.score(model, split, batch_tokens)
        return scores[..., 0].argmax(axis=1), loss

    def answers(self, split: str) -> NDArray[np.int64]:
        """Returns the (documents,) correct candidates of a split."""
        places = np.array([self.candidates.index(name) for name in self.corpus.label_names])
        answers: NDArray[np.int64] = places[self.labels(split)]
        return answers

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns the loss (nats per pair) and the accuracy over triplets."""
        predictions, loss = self.predict(model, split)
        accuracy = float((predictions == self.answers(split)).mean())
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
