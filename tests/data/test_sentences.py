"""Generated sentences: what a trial without data is run on."""

import pytest

from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.data.sources.sentences import SentencesSource
from roformer.data.splits import split_documents
from roformer.errors import UserError

SETTINGS = {"documents": 20, "sentences": 3, "texts": 1, "labels": []}


def is_chinese(text):
    return not any(character.isascii() for character in text)


@pytest.mark.parametrize(
    ("task", "texts", "labels"),
    [
        ("mlm", 1, set()), ("causal_lm", 1, set()), ("char_lm", 1, set()), ("translation", 2, set()),
        ("classification", 1, {"first", "second"}), ("regression", 1, {"0", "1", "2"}), ("matching", 3, {"B", "C"}),
    ],
)  # fmt: skip
def test_documents_are_those_that_the_task_needs(task, texts, labels):
    """Catches a task that gets too few texts, or a split without one of its labels."""
    corpus = Corpus.from_settings(TrainConfig.compose(f"task={task}", "data=sentences").data)
    found = {}
    for split, document in split_documents(corpus.source, **corpus.fractions):
        assert len(document.texts) == texts
        found.setdefault(split, set()).add(document.label)
    assert set(found) == {"train", "validation", "test"}
    assert all(each - {None} == labels for each in found.values())


def test_both_languages_occur_and_pairs_are_translations():
    """Catches a corpus without Chinese, and pairs whose direction changes or whose sides say different things."""
    assert {is_chinese(document.text) for document in SentencesSource(**SETTINGS).documents()} == {True, False}
    for document in SentencesSource(**{**SETTINGS, "texts": 2}).documents():
        english, chinese = document.texts
        assert not is_chinese(english)
        assert is_chinese(chinese)
        assert english.count(" dog ") == chinese.count("狗")


@pytest.mark.parametrize("change", [{"documents": 21}, {"sentences": 4}, {"texts": 2}, {"labels": ["a"]}])
def test_other_documents_have_another_fingerprint(change):
    """Catches a setting that a cache ignores, and documents that differ from call to call."""
    source, other = SentencesSource(**SETTINGS), SentencesSource(**{**SETTINGS, **change})
    assert list(source.documents()) == list(SentencesSource(**SETTINGS).documents())
    assert source.fingerprint() == SentencesSource(**SETTINGS).fingerprint() != other.fingerprint()
    assert list(source.documents()) != list(other.documents())


@pytest.mark.parametrize("name", ["documents", "sentences", "texts"])
def test_numbers_are_checked(name):
    """Catches a corpus of nothing, which would fail later and by another name."""
    with pytest.raises(UserError, match=rf"data=sentences needs .*{name}.* at least 1, got .*0"):
        SentencesSource(**{**SETTINGS, name: 0})
