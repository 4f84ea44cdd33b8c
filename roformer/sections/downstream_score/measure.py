"""Measures the one number that a fine-tuned model is judged by: GLUE's metrics, Spearman's correlation, triplets
answered right."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, matthews_corrcoef

from roformer.data.sources.glue import GLUE
from roformer.errors import UserError
from roformer.results.records import Settings
from roformer.sections.downstream_score import FAMILY, FloorMetrics, Metrics
from roformer.sections.downstream_score.floors import floors, texts_of
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks.classification import Classification
from roformer.tasks.matching import Matching
from roformer.tasks.question_answering import QuestionAnswering
from roformer.tasks.regression import Regression, spearman
from roformer.tasks.token_classification import TokenClassification

Values = NDArray[Any]
METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": lambda labels, predictions: float(np.mean(labels == predictions)),
    "f1": lambda labels, predictions: float(f1_score(labels, predictions)),
    "matthews": lambda labels, predictions: float(matthews_corrcoef(labels, predictions)),
    "spearman": spearman,
}
Scored: TypeAlias = Classification | Regression | Matching
_TASKS_ON_PARTS = ("token_classification", "question_answering")


@EVALUATORS.register("downstream_score")
class DownstreamScore(Evaluator[Scored, Metrics]):
    """On the test split; of GLUE, whose test labels are secret, that is the development set."""

    version = 4
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return config["task"]["name"] not in _TASKS_ON_PARTS

    def evaluate(self, run: LoadedRun[Scored]) -> Metrics:
        """Raises ``UserError`` if the metric is F1, and no class is the positive one."""
        task = run.task
        name, measure = metric_of(run)
        validated, _ = task.predict(run.model, "validation", self.config.batch_tokens)
        predictions, loss = task.predict(run.model, "test", self.config.batch_tokens)
        answers = task.answers("test")
        return Metrics(
            metric=name,
            score=measure(answers, predictions),
            loss=loss,
            validation=measure(task.answers("validation"), validated),
            majority=measure(answers, np.full_like(answers, most_frequent(task.answers("train")))),
            predictions=tuple(predictions.tolist()),
            labels=tuple(answers.tolist()),
        )


@EVALUATORS.register("entity_score")
class EntityScore(Evaluator[TokenClassification, Metrics]):
    """F1 of the entities of the test split."""

    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return config["task"]["name"] == "token_classification"

    def evaluate(self, run: LoadedRun[TokenClassification]) -> Metrics:
        task = run.task
        validated, _ = task.predict(run.model, "validation", self.config.batch_tokens)
        predictions, loss = task.predict(run.model, "test", self.config.batch_tokens)
        found, answers = task.found_entities("test", predictions)
        return Metrics(
            metric="entity F1",
            score=task.scores("test", predictions)["f1"],
            loss=loss,
            validation=task.scores("validation", validated)["f1"],
            majority=task.scores("test", np.full_like(predictions, task.most_frequent))["f1"],
            predictions=tuple(found.tolist()),
            labels=tuple(answers.tolist()),
        )


@EVALUATORS.register("answer_score")
class AnswerScore(Evaluator[QuestionAnswering, Metrics]):
    """SQuAD's F1 of the answers of the test split; the majority class is no answer."""

    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return config["task"]["name"] == "question_answering"

    def evaluate(self, run: LoadedRun[QuestionAnswering]) -> Metrics:
        task = run.task
        validated, _ = task.predict(run.model, "validation", self.config.batch_tokens)
        predictions, loss = task.predict(run.model, "test", self.config.batch_tokens)
        scores = task.scores("test", predictions)["f1"]
        return Metrics(
            metric="answer F1",
            score=float(scores.mean()),
            loss=loss,
            validation=float(task.scores("validation", validated)["f1"].mean()),
            majority=float(task.scores("test", [""] * len(predictions))["f1"].mean()),
            predictions=tuple(scores.tolist()),
            labels=(1.0,) * len(scores),
        )


@EVALUATORS.register("floors")
class Floors(Evaluator[Scored, FloorMetrics]):
    """What needs no pretrained model."""

    version = 1
    families = (FAMILY,)
    metrics = FloorMetrics
    scope = "data"

    def fits(self, config: Settings) -> bool:
        return config["task"]["name"] not in _TASKS_ON_PARTS

    def evaluate(self, run: LoadedRun[Scored]) -> FloorMetrics:
        _, measure = metric_of(run)
        answers = {split: run.task.answers(split) for split in ("train", "test")}
        kinds = {
            "is_regression": isinstance(run.task, Regression),
            "is_matching": isinstance(run.task, Matching),
        }
        return FloorMetrics(floors(texts_of(run.config["data"]), answers, measure, **kinds))


def metric_of(run: LoadedRun[Scored]) -> tuple[str, Callable[[Values, Values], float]]:
    """Returns the name of the metric that goes with a run's data, and what computes it from labels and predictions."""
    data = run.config["data"]
    if isinstance(run.task, Regression):
        return "spearman", METRICS["spearman"]
    name = GLUE[data["glue_task"]].metric if data["name"] == "glue" else "accuracy"
    if name == "f1":
        return name, f1_of(run.task.corpus.label_names, GLUE[data["glue_task"]].positive)
    return name, METRICS[name]


def most_frequent(answers: Values) -> Any:
    """Returns the answer that is given most often."""
    values, counts = np.unique(answers, return_counts=True)
    return values[counts.argmax()]


def f1_of(names: Sequence[str], positive: Sequence[str]) -> Callable[[Values, Values], float]:
    """Returns F1 of classes by number, of which one is the positive one by its name."""
    is_positive = np.isin(names, positive)
    if is_positive.sum() != 1:
        raise UserError(
            f"F1 is about the class {' or '.join(positive)}, and the labels here are {', '.join(names)}; rename "
            "them in data.path"
        )
    return lambda labels, predictions: METRICS["f1"](is_positive[labels], is_positive[predictions])
