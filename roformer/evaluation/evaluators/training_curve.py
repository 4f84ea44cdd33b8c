"""How training went: validation loss by step, and speed. Read from ``metrics.jsonl``, no model needed."""

import statistics
from typing import Any

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.training.meter import read_metrics


@EVALUATORS.register("training_curve")
class TrainingCurve(Evaluator):
    """Validation loss at each evaluation, and the median of the logged tokens a second."""

    version = 1
    tasks = ("mlm", "classification")

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        lines = read_metrics(loaded.run.folder / "metrics.jsonl")
        evaluated = [line for line in lines if "validation_loss" in line]
        return {
            "steps": [line["step"] for line in evaluated],
            "tokens": [line["tokens"] for line in evaluated],
            "validation_loss": [line["validation_loss"] for line in evaluated],
            "tokens_per_second": statistics.median(line["tokens_per_second"] for line in lines),
        }
