"""Generated sentences: what a trial without data is run on."""

import pytest

from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.data.sources.sentences import SentencesSource
from roformer.data.splits import split_documents
from roformer.errors import UserError

SETTINGS = {"documents": 20, "sentences": 3, "texts": 1, "labels": [], "spans": None}


def is_chinese(text):
    return not any(character.isascii() for character in text)


@pytest.mark.parametrize(
    ("task", "texts", "labels"),
    [
        ("token_classification", 1, set()), ("question_answering", 2, set()),
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


def test_spans_are_what_the_text_says():
    """Catches places of the other language, an entity in pieces, and questions that all have answers."""
    tagged = {}
    for document in SentencesSource(**{**SETTINGS, "spans": "words"}).documents():
        covered = "".join(document.text[start:end] for start, end, _ in document.spans)
        assert covered == document.text.replace(" ", "")
        for start, end, tag in document.spans:
            tagged.setdefault(tag, set()).add(document.text[start:end])
    assert {"dog", "狗", "医"} <= tagged["B-BEING"]
    assert {"park", "公"} <= tagged["B-PLACE"]
    assert "生" in tagged["I-BEING"]
    assert {"dog", "狗", "park", "公"}.isdisjoint(tagged["O"])
    answers = []
    for document in SentencesSource(**{**SETTINGS, "spans": "answers"}).documents():
        question, text = document.texts
        assert is_chinese(question) == is_chinese(text)
        (answer,) = [text[start:end] for start, end, _ in document.spans] or [""]
        assert bool(answer) == ("purple" not in question and "紫色" not in question)
        answers.append(answer)
    assert {"", "park", "公园"} <= set(answers)
    assert answers.count("") < len(answers) / 2


def test_spans_need_one_text():
    """Catches a pair whose second text has the places of the first."""
    with pytest.raises(UserError, match=r"data\.spans=words has one text, got data\.texts=2"):
        SentencesSource(**{**SETTINGS, "texts": 2, "spans": "words"})


def test_documents_without_spans_are_those_of_before():
    """Catches a new setting with which runs of before lose their tokens."""
    assert SentencesSource(**SETTINGS).fingerprint() == "146aab40e3e0f1aaa42e"


@pytest.mark.parametrize(
    "change",
    [{"documents": 21}, {"sentences": 4}, {"texts": 2}, {"labels": ["a"]}, {"spans": "words"}, {"spans": "answers"}],
)
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
