"""The one number that a task is judged by: GLUE's metrics, Spearman's correlation, triplets answered right."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from roformer.data.glue import GLUE
from roformer.errors import UserError
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.runs import Run
from roformer.tasks.classification import Classification
from roformer.tasks.matching import Matching
from roformer.tasks.regression import Regression
from roformer.training.meter import read_metrics

Values = NDArray[Any]
METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": lambda labels, predictions: float(np.mean(labels == predictions)),
    "f1": lambda labels, predictions: float(f1_score(labels, predictions)),
    "matthews": lambda labels, predictions: float(matthews_corrcoef(labels, predictions)),
    "spearman": lambda labels, predictions: float(spearmanr(labels, predictions).statistic),
}


@EVALUATORS.register("score")
class Score(Evaluator):
    """On the test split; of GLUE, whose test labels are secret, that is the development set."""

    version = 2
    tasks = ("classification", "regression", "matching")

    def fits(self, run: Run) -> bool:
        return super().fits(run) and run.scored_data is not None

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``metric``, ``score``, of each document prediction and label, and what this state had on the
        ``validation`` split, for a choice between runs.

        Raises:
            UserError: if GLUE judges this data by a metric that the task does not go with.
        """
        task, data = loaded.task, loaded.run.config["data"]
        metric = GLUE[data["glue_task"]].metric if data["name"] == "glue" else "accuracy"
        assert isinstance(task, Classification | Regression | Matching)
        if isinstance(task, Regression):
            metric = "spearman"
        elif metric == "spearman":
            raise UserError(
                f"{loaded.run.folder} classifies data.glue_task={data['glue_task']}; train it with task=regression"
            )
        predictions, loss = task.predict(loaded.model, "test", self.config.batch_tokens)
        answers = task.answers("test")
        if metric == "f1":
            names = np.array(task.corpus.label_names)
            positive = np.isin(names, GLUE[data["glue_task"]].positive)
            score = METRICS[metric](positive[answers], positive[predictions])
        else:
            score = METRICS[metric](answers, predictions)
        lines = read_metrics(loaded.run.folder / "metrics.jsonl")
        validated = [line[task.best_metric] for line in lines if task.best_metric in line]
        last = loaded.run.config["trainer"]["early_stopping_patience"] is None  # else the best state is exported
        return {
            "metric": metric, "score": score, "loss": loss,
            "validation": validated[-1] if last else max(validated),
            "predictions": predictions.tolist(), "labels": answers.tolist(),
        }  # fmt: skip
