"""What a classifier has to beat."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.sections.classification.measure import Baselines
from roformer.sections.evaluator import LoadedRun
from roformer.tasks.factory import build_task
from tests.tiny_runs import evaluation


@pytest.fixture(scope="module")
def corpus(tiny_runs):
    return Corpus.from_settings(tiny_runs.config("unused", task="classification").data)


@pytest.fixture(scope="module")
def labels(corpus):
    """The labels of each split."""
    found = {"train": [], "validation": [], "test": []}
    for split, document in split_documents(corpus.source, **corpus.fractions):
        found[split].append(document.label)
    return found


@pytest.fixture(scope="module")
def metrics(tiny_runs):
    task = build_task(tiny_runs.config("unused", task="classification"))
    return Baselines(evaluation([])).evaluate(LoadedRun(Path("unused"), {}, None, task)).baselines


def accuracy(baseline):
    return np.mean(np.equal(baseline.labels, baseline.predictions))


def test_majority_accuracy_is_the_share_of_a_label(metrics, labels):
    """Catches a majority of the test split, which no honest baseline knows, and scores on another split."""
    most_frequent = Counter(labels["train"]).most_common(1)[0][0]
    majority = metrics["majority class"]
    assert accuracy(majority) == labels["test"].count(most_frequent) / len(labels["test"])
    assert len(set(majority.predictions)) == 1


def test_words_beat_the_majority_on_separable_text(metrics):
    """Catches a classifier that is fitted to shuffled labels, or that reads something else than the tokens."""
    words = metrics["TF-IDF + logistic regression"]
    assert accuracy(words) > 0.9 > accuracy(metrics["majority class"])


def test_numbers_stand_for_the_sorted_labels(metrics, labels):
    """Catches label numbers in another order than the model's, which would spoil paired comparisons."""
    names = sorted(set(labels["train"]))
    for result in metrics.values():
        assert [names[number] for number in result.labels] == labels["test"]
