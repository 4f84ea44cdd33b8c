"""Reads how one training run went from its log; no model needed."""

import statistics
from itertools import pairwise
from typing import Any

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.runs.metrics import Line
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.learning_speed import Metrics


@EVALUATORS.register("learning_speed")
class LearningSpeed(Evaluator[Any, Metrics]):
    version = 2
    families = ("language_modeling", "classification", "translation")
    metrics = Metrics

    def evaluate(self, run: LoadedRun[Any]) -> Metrics:
        folder = RunFolder(run.folder)
        lines = [line for line in folder.metrics() if "tokens" in line and _is_timed(line)]
        if not any("validation_loss" in line for line in lines):
            raise UserError(f"{folder.metrics_file} has no evaluation; restore it, or leave the run out of runs=")
        seconds, total = [], 0.0
        for before, line in pairwise([{"tokens": 0.0}, *lines]):
            total += (line["tokens"] - before["tokens"]) / line["tokens_per_second"] if line["step"] else 0.0
            seconds.append(total)
        evaluated = [(line, time) for line, time in zip(lines, seconds, strict=True) if "validation_loss" in line]
        return Metrics(
            tuple(int(line["step"]) for line, _ in evaluated),
            tuple(line["tokens"] for line, _ in evaluated),
            tuple(time for _, time in evaluated),
            tuple(line["validation_loss"] for line, _ in evaluated),
            statistics.median(line["tokens_per_second"] for line in lines if line["step"]),
        )


def _is_timed(line: Line) -> bool:
    """Whether there is a speed: not where every batch was skipped. Before the first step no time has passed."""
    return line["step"] == 0 or "tokens_per_second" in line
