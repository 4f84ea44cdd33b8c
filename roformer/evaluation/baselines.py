"""What a classifier has to beat: the majority class, and TF-IDF with logistic regression. By scikit-learn."""

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from roformer.tasks import Task
from roformer.tasks.classification import Classification

VERSION = 2


def baseline_metrics(task: Task) -> dict[str, dict[str, Any]]:
    """Fits both on the tokens of the training split that the model reads, too: the first ``max_length`` of each
    document. Returns, by name, what they score on the test split."""
    assert isinstance(task, Classification)
    counts = {split: task.token_counts(split) for split in ("train", "test")}
    labels = {split: task.corpus.splits[split].labels for split in counts}
    models = {
        "majority class": DummyClassifier(strategy="most_frequent"),
        "TF-IDF + logistic regression": make_pipeline(
            TfidfTransformer(sublinear_tf=True), LogisticRegression(max_iter=1000)
        ),
    }
    results = {}
    for name, model in models.items():
        predictions = model.fit(counts["train"], labels["train"]).predict(counts["test"])
        results[name] = {
            "accuracy": float(np.mean(predictions == labels["test"])),
            "macro_f1": float(f1_score(labels["test"], predictions, average="macro", zero_division=0)),
            "predictions": predictions.tolist(),
            "labels": np.asarray(labels["test"]).tolist(),
        }
    return results
