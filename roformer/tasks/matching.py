"""Which of two texts is nearer to a third? (RoFormer paper, section 4.5.4: CAIL2019-SCM.)"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.errors import UserError
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import Example, SequenceTask


@TASKS.register("matching")
class Matching(SequenceTask):
    """Scores the pairs (A, B) and (A, C) of a triplet, each by itself: 1 for the near one, 0 for the other.

    The answer is the pair with the higher score (released fine-tuning script of the authors). The label of a document
    is B or C, whichever is nearer to A.
    """

    family = "downstream"
    best_metric = "validation_accuracy"
    greater_is_better = True
    candidates: ClassVar[tuple[str, ...]] = ("B", "C")

    def check_data(self) -> None:
        if self.corpus.texts != 1 + len(self.candidates):
            raise UserError(
                f"matching needs three texts a document, this data has {self.corpus.texts}; use data=labelled with "
                "data.text_column=[A,B,C]"
            )
        if strange := set(self.corpus.label_names) - set(self.candidates):
            raise UserError(
                f"matching needs labels B and C, whichever text is nearer to A, and found '{min(strange)}'; change "
                "data.label_column"
            )

    def model_settings(self) -> dict[str, Any]:
        labels = {"id2label": {0: "near"}, "label2id": {"near": 0}}
        return {**super().model_settings(), **labels, "problem_type": "multi_label_classification"}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size * len(self.candidates)

    def examples(self, split: str, index: int) -> list[Example]:
        first, *others = self.texts(split, index)
        near = self.corpus.label_names[self.labels(split)[index]]
        return [
            (self.frame(first, other), float(name == near))
            for name, other in zip(self.candidates, others, strict=True)
        ]

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.int64], float]:
        """Returns for each document of a split, in its order, which candidate is nearer (0 for B, 1 for C), and the
        mean loss of a pair in nats."""
        scores, loss = self.score(model, split, batch_tokens)
        return scores[..., 0].argmax(axis=1), loss

    def answers(self, split: str) -> NDArray[np.int64]:
        """Returns what ``predict`` should."""
        places = np.array([self.candidates.index(name) for name in self.corpus.label_names])
        answers: NDArray[np.int64] = places[self.labels(split)]
        return answers

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns the loss (nats a pair), and the share of triplets that are answered right."""
        predictions, loss = self.predict(model, split)
        accuracy = float((predictions == self.answers(split)).mean())
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
