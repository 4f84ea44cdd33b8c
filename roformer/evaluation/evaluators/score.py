"""The one number that a task is judged by: GLUE's metrics, Spearman's correlation, triplets answered right."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, matthews_corrcoef

from roformer.data.sources.glue import GLUE
from roformer.errors import UserError
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.runs import Run
from roformer.tasks.classification import Classification
from roformer.tasks.matching import Matching
from roformer.tasks.regression import Regression, spearman
from roformer.tasks.sequences import SequenceTask

Values = NDArray[Any]
METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": lambda labels, predictions: float(np.mean(labels == predictions)),
    "f1": lambda labels, predictions: float(f1_score(labels, predictions)),
    "matthews": lambda labels, predictions: float(matthews_corrcoef(labels, predictions)),
    "spearman": spearman,
}


@EVALUATORS.register("score")
class Score(Evaluator):
    """On the test split; of GLUE, whose test labels are secret, that is the development set."""

    version = 4
    tasks = (SequenceTask,)

    def fits(self, run: Run) -> bool:
        return super().fits(run) and run.scored_data is not None

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``metric``, ``score``, of each document prediction and label, ``validation``, the same metric on the
        validation split, for a choice between runs, and ``guess``, that of an answer that is the same for all.

        Raises:
            UserError: if the metric is F1, and no class is the positive one.
        """
        task, data = loaded.task, loaded.run.config["data"]
        assert isinstance(task, Classification | Regression | Matching)
        metric = GLUE[data["glue_task"]].metric if data["name"] == "glue" else "accuracy"
        if isinstance(task, Regression):
            metric = "spearman"
        measure = METRICS[metric]
        if metric == "f1":
            measure = _f1_of(task.corpus.label_names, GLUE[data["glue_task"]].positive)
        validated, _ = task.predict(loaded.model, "validation", self.config.batch_tokens)
        predictions, loss = task.predict(loaded.model, "test", self.config.batch_tokens)
        answers = task.answers("test")
        return {
            "metric": metric, "score": measure(answers, predictions), "loss": loss,
            "validation": measure(task.answers("validation"), validated),
            "guess": measure(answers, np.full_like(answers, _most_frequent(task.answers("train")))),
            "predictions": predictions.tolist(), "labels": answers.tolist(),
        }  # fmt: skip


def _most_frequent(answers: Values) -> Any:
    values, counts = np.unique(answers, return_counts=True)
    return values[counts.argmax()]


def _f1_of(names: Sequence[str], positive: Sequence[str]) -> Callable[[Values, Values], float]:
    """Returns F1 of classes by number, of which one is the positive one by its name."""
    is_positive = np.isin(names, positive)
    if is_positive.sum() != 1:
        raise UserError(
            f"F1 is about the class {' or '.join(positive)}, and the labels here are {', '.join(names)}; rename "
            "them in data.path"
        )
    return lambda labels, predictions: METRICS["f1"](is_positive[labels], is_positive[predictions])
