"""A number for each document, such as how alike two texts are (RoFormer paper, section 4.3: STS-B of GLUE)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.errors import UserError
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import Example, SequenceTask


@TASKS.register("regression")
class Regression(SequenceTask):
    """Predicts the label, which is a number, by its squared error."""

    family = "downstream"
    best_metric = "validation_spearman"
    greater_is_better = True

    def check_data(self) -> None:
        try:
            self.values = np.array([float(name) for name in self.corpus.label_names])
        except ValueError as error:
            raise UserError(
                f"regression needs labels that are numbers: {error}; use task=classification, or another "
                "data.label_column"
            ) from error
        if not np.isfinite(self.values).all():
            strange = self.corpus.label_names[int(np.argmin(np.isfinite(self.values)))]
            raise UserError(f"regression needs labels that are finite numbers, and found '{strange}'; leave it out")

    def model_settings(self) -> dict[str, Any]:
        return {
            **super().model_settings(),
            "id2label": {0: "value"},
            "label2id": {"value": 0},
            "problem_type": "regression",
        }

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    def examples(self, split: str, index: int) -> list[Example]:
        return [(self.frame(*self.texts(split, index)), float(self.values[self.labels(split)[index]]))]

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.float32], float]:
        """Returns the (documents,) predicted numbers of a split in its order, and the mean squared error."""
        scores, loss = self.score(model, split, batch_tokens)
        return scores[:, 0, 0], loss

    def answers(self, split: str) -> NDArray[np.float64]:
        """Returns what ``predict`` should."""
        answers: NDArray[np.float64] = self.values[self.labels(split)]
        return answers

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns the squared error and the correlations of a split: Spearman's, of ranks, and Pearson's."""
        from scipy.stats import pearsonr

        predictions, loss = self.predict(model, split)
        values = self.answers(split)
        return {
            f"{split}_loss": loss,
            f"{split}_spearman": spearman(values, predictions),
            f"{split}_pearson": float(pearsonr(values, predictions).statistic) if varies(values, predictions) else 0.0,
        }


def spearman(values: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Returns Spearman's correlation, of ranks; 0 where either side is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(values, predictions).statistic) if varies(values, predictions) else 0.0


def varies(*sides: NDArray[Any]) -> bool:
    """Returns whether no side is constant: a correlation with a constant is not defined."""
    return all(np.ptp(side) > 0 for side in sides)
