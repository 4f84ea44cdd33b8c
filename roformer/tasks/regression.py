"""Regression on documents, such as the similarity of two texts (RoFormer paper, section 4.3: STS-B of GLUE)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.errors import UserError
from roformer.extras import require
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import SequenceTask

_LARGEST = 1e18  # whose square is a number in float32


@TASKS.register("regression")
class Regression(SequenceTask):
    """Predicts numeric labels with a squared error.

    Args:
        max_length, long_documents, pooling, classifier_dropout: as in ``SequenceTask``.

    Raises:
        UserError: if a label is not a number, or too large to be squared, all are the same, or as in
            ``SequenceTask``.
    """

    title, unit, family = "Regression", "document", "downstream"

    best_metric = "validation_spearman"
    greater_is_better = True
    problem_type = "regression"

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        super().check(settings)
        require("scipy", "task=regression")

    def check_data(self) -> None:
        names = self.corpus.label_names
        if strange := [name for name in names if not _is_number(name)]:
            raise UserError(
                f"regression needs numeric labels, and '{strange[0]}' is none; change it, use task=classification, or "
                "another data.label_column"
            )
        self.values = np.array([float(name) for name in names])
        if not (sensible := np.abs(self.values) <= _LARGEST).all():
            raise UserError(
                f"regression needs labels between -{_LARGEST:g} and {_LARGEST:g}, found "
                f"'{names[int(np.argmin(sensible))]}'; rescale them, or remove that document"
            )
        if not varies(self.answers("train")):
            raise UserError(f"all training documents have the label {names[0]}; regression needs two labels or more")

    def model_settings(self) -> dict[str, Any]:
        return {**super().model_settings(), "id2label": {0: "value"}, "label2id": {"value": 0}}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    @staticmethod
    def statement(logits: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
        return {"value": float(logits[0, 0])}

    def targets(self, split: str, index: int) -> list[float]:
        return [float(self.values[self.labels(split)[index]])]

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.float32], float]:
        """Returns the (documents,) predictions of a split, and the mean squared error."""
        scores, loss = self.score(model, split, batch_tokens)
        return scores[:, 0, 0], loss

    def answers(self, split: str) -> NDArray[np.float64]:
        """Returns the (documents,) labels of a split as numbers."""
        answers: NDArray[np.float64] = self.values[self.labels(split)]
        return answers

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns mean squared error, Spearman and Pearson correlation of a split."""
        from scipy.stats import pearsonr

        predictions, loss = self.predict(model, split)
        values = self.answers(split)
        return {
            f"{split}_loss": loss,
            f"{split}_spearman": spearman(values, predictions),
            f"{split}_pearson": float(pearsonr(values, predictions).statistic) if varies(values, predictions) else 0.0,
        }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python reads as a number


def spearman(values: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Returns Spearman's rank correlation; 0 if either side is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(values, predictions).statistic) if varies(values, predictions) else 0.0


def varies(*sides: NDArray[Any]) -> bool:
    """Returns whether no side is constant; a correlation with a constant is undefined."""
    return all(np.ptp(side) > 0 for side in sides)
