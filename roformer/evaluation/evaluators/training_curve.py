"""How training went: validation loss by step and by time, and speed. Read from ``metrics.jsonl``, no model needed."""

import statistics
from itertools import pairwise
from typing import Any

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.runs import RunFolder
from roformer.tasks.classification import Classification
from roformer.tasks.language_modeling import LanguageModeling
from roformer.tasks.translation import Translation


@EVALUATORS.register("training_curve")
class TrainingCurve(Evaluator):
    """Validation loss at each evaluation, and the median of the logged tokens a second.

    The seconds are those of training alone, evaluations and checkpoints left out.
    """

    version = 2
    tasks = (LanguageModeling, Classification, Translation)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        lines = RunFolder(loaded.run.folder).metrics()
        seconds, total = [], 0.0
        for before, line in pairwise([{"tokens": 0.0}, *lines]):
            total += (line["tokens"] - before["tokens"]) / line["tokens_per_second"]
            seconds.append(total)
        evaluated = [(line, time) for line, time in zip(lines, seconds, strict=True) if "validation_loss" in line]
        return {
            "steps": [line["step"] for line, _ in evaluated],
            "tokens": [line["tokens"] for line, _ in evaluated],
            "seconds": [time for _, time in evaluated],
            "validation_loss": [line["validation_loss"] for line, _ in evaluated],
            "tokens_per_second": statistics.median(line["tokens_per_second"] for line in lines),
        }
