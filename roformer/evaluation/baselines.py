"""What a classifier has to beat: the majority class, and TF-IDF with logistic regression. By scikit-learn."""

from typing import Any

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from roformer.build import Corpus
from roformer.data.preprocess import split_documents

VERSION = 1


def baseline_metrics(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Fits both on the training split's whole texts and returns, by name, what they score on the test split."""
    texts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    labels: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for split, document in split_documents(corpus.source, **corpus.fractions):
        texts[split].append(document.text)
        labels[split].append(str(document.label))
    models = {
        "majority class": DummyClassifier(strategy="most_frequent"),
        "TF-IDF + logistic regression": make_pipeline(
            TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000), LogisticRegression(max_iter=1000)
        ),
    }
    names = sorted(set(labels["train"]))
    results = {}
    for name, model in models.items():
        predictions = model.fit(texts["train"], labels["train"]).predict(texts["test"]).tolist()
        results[name] = {
            "accuracy": sum(map(str.__eq__, predictions, labels["test"])) / len(predictions),
            "macro_f1": float(f1_score(labels["test"], predictions, average="macro", zero_division=0)),
            "predictions": [names.index(prediction) for prediction in predictions],
            "labels": [names.index(label) for label in labels["test"]],
        }
    return results
