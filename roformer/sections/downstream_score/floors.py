"""What scores without a pretrained model, or any: the floors that a fine-tuned model has to beat.

They read words, not the tokens of a run's tokenizer, so they are the same for every model on the same data.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.results.records import Settings

_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_]+")  # a Chinese character is a word
Values: TypeAlias = NDArray[Any]
Texts: TypeAlias = Sequence[tuple[str, ...]]


def bag_of_words(train: Texts, answers: Values, test: Texts, *, is_regression: bool) -> Values:
    """Returns the predictions of TF-IDF with ridge or logistic regression; each text of a document has its own
    features."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    columns = range(len(train[0]))
    bags = [TfidfVectorizer(analyzer=words, sublinear_tf=True) for _ in columns]
    fitted = hstack([bags[i].fit_transform([texts[i] for texts in train]) for i in columns]).tocsr()
    shown = hstack([bags[i].transform([texts[i] for texts in test]) for i in columns]).tocsr()
    model = Ridge() if is_regression else LogisticRegression(max_iter=1000)
    predictions: Values = np.asarray(model.fit(fitted, answers).predict(shown))
    return predictions


def word_overlap(train: Texts, answers: Values, test: Texts, *, is_regression: bool) -> Values:
    """Returns the predictions from one number, the Jaccard similarity of the words of two texts."""
    from sklearn.linear_model import LogisticRegression

    overlaps = np.array([jaccard(*texts) for texts in test])
    if is_regression:
        return overlaps
    model = LogisticRegression().fit(np.array([[jaccard(*texts)] for texts in train]), answers)
    predictions: Values = np.asarray(model.predict(overlaps[:, None]))
    return predictions


def nearer_by_overlap(test: Texts) -> Values:
    """Returns for each triplet which of the second and third text shares more words with the first (0 or 1)."""
    return np.array([int(jaccard(first, third) > jaccard(first, second)) for first, second, third in test])


def jaccard(first: str, second: str) -> float:
    """Returns the words that two texts share, as a share of the words of either."""
    ours, theirs = set(words(first)), set(words(second))
    return len(ours & theirs) / max(1, len(ours | theirs))


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def texts_of(data: Settings) -> dict[str, list[tuple[str, ...]]]:
    """Returns the texts of each document by split, in the order of a run's corpus."""
    corpus = Corpus.from_settings(data)
    found: dict[str, list[tuple[str, ...]]] = {}
    for split, document in split_documents(corpus.source, **corpus.fractions):
        found.setdefault(split, []).append(document.texts)
    return found


def floors(
    texts: dict[str, list[tuple[str, ...]]],
    answers: dict[str, Values],
    measure: Callable[[Values, Values], float],
    *,
    is_regression: bool,
    is_matching: bool,
) -> dict[str, float]:
    """Returns the score of each floor on the test split.

    Args:
        texts, answers: of the splits ``train`` and ``test``.
        measure: computes the score from answers and predictions.
        is_regression: whether answers are numbers.
        is_matching: whether an answer says which of two texts goes with another.
    """
    if is_matching:
        return {"word overlap": measure(answers["test"], nearer_by_overlap(texts["test"]))}
    train, test = texts["train"], texts["test"]
    name = f"bag of words (TF-IDF + {'ridge' if is_regression else 'logistic'} regression)"
    found = {name: bag_of_words(train, answers["train"], test, is_regression=is_regression)}
    if len(test[0]) == 2:
        found["word overlap (Jaccard)"] = word_overlap(train, answers["train"], test, is_regression=is_regression)
    return {floor: measure(answers["test"], predictions) for floor, predictions in found.items()}
