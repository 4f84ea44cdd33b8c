"""Reads how one training run went from its log; no model needed."""

import statistics
from itertools import pairwise
from typing import Any

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.learning_speed import Metrics


@EVALUATORS.register("learning_speed")
class LearningSpeed(Evaluator[Any, Metrics]):
    version = 2
    families = ("language_modeling", "classification", "translation")
    metrics = Metrics

    def evaluate(self, run: LoadedRun[Any]) -> Metrics:
        folder = RunFolder(run.folder)
        lines = [
            line for line in folder.metrics() if {"tokens", "tokens_per_second"} <= line.keys()
        ]  # not where all was skipped
        if not any("validation_loss" in line for line in lines):
            raise UserError(f"{folder.metrics_file} has no evaluation; restore it, or leave the run out of runs=")
        seconds, total = [], 0.0
        for before, line in pairwise([{"tokens": 0.0}, *lines]):
            total += (line["tokens"] - before["tokens"]) / line["tokens_per_second"]
            seconds.append(total)
        evaluated = [(line, time) for line, time in zip(lines, seconds, strict=True) if "validation_loss" in line]
        return Metrics(
            tuple(int(line["step"]) for line, _ in evaluated),
            tuple(line["tokens"] for line, _ in evaluated),
            tuple(time for _, time in evaluated),
            tuple(line["validation_loss"] for line, _ in evaluated),
            statistics.median(line["tokens_per_second"] for line in lines),
        )
