"""Accuracy and macro-F1 of a classifier on the whole test split."""

from typing import Any

from sklearn.metrics import f1_score

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.runs import Run
from roformer.tasks.classification import Classification


@EVALUATORS.register("classification")
class ClassificationMetrics(Evaluator):
    """Keeps each prediction, so that intervals over examples and paired tests need no second pass."""

    version = 1
    tasks = (Classification,)

    def fits(self, run: Run) -> bool:
        return super().fits(run) and run.scored_data is None

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        task = loaded.task
        assert isinstance(task, Classification)
        predictions, loss = task.predict(loaded.model, "test", self.config.batch_tokens)
        labels = task.corpus.splits["test"].labels
        assert labels is not None
        return {
            "loss": loss,
            "accuracy": float((predictions == labels).mean()),
            "macro_f1": float(f1_score(labels, predictions, average="macro")),
            "label_names": list(task.corpus.label_names),
            "predictions": predictions.tolist(),
            "labels": labels.tolist(),
        }
