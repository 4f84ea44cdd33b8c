"""Measures one classifier on the whole test split, and the baselines of its dataset."""

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from roformer.sections.classification import FAMILY, BaselineMetrics, BaselinePredictions, Metrics
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks.classification import Classification


@EVALUATORS.register("classification")
class ClassificationMetrics(Evaluator[Classification, Metrics]):
    """Keeps each prediction, so that intervals over examples and paired tests need no second pass."""

    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[Classification]) -> Metrics:
        predictions, loss = run.task.predict(run.model, "test", self.config.batch_tokens)
        labels = run.task.labels("test")
        return Metrics(
            loss,
            float((predictions == labels).mean()),
            float(f1_score(labels, predictions, average="macro")),
            tuple(run.task.corpus.label_names),
            tuple(predictions.tolist()),
            tuple(labels.tolist()),
        )


@EVALUATORS.register("baselines")
class Baselines(Evaluator[Classification, BaselineMetrics]):
    """The majority class, and TF-IDF with logistic regression, fitted on the tokens of the training split that the
    models read, too: the first ``max_length`` of each document."""

    version = 2
    families = (FAMILY,)
    metrics = BaselineMetrics
    scope = "data"

    def evaluate(self, run: LoadedRun[Classification]) -> BaselineMetrics:
        counts = {split: run.task.token_counts(split) for split in ("train", "test")}
        labels = {split: run.task.labels(split) for split in counts}
        models = {
            "majority class": DummyClassifier(strategy="most_frequent"),
            "TF-IDF + logistic regression": make_pipeline(
                TfidfTransformer(sublinear_tf=True), LogisticRegression(max_iter=1000)
            ),
        }
        found = {}
        for name, model in models.items():
            predictions = np.asarray(model.fit(counts["train"], labels["train"]).predict(counts["test"]))
            found[name] = BaselinePredictions(tuple(predictions.tolist()), tuple(labels["test"].tolist()))
        return BaselineMetrics(found)
