"""Labeled parts of texts on disk: places of tokens are exact for every tokenizer, and nothing else changes."""

import io
import json
import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest

from roformer.data import Document, Source
from roformer.data.sources import Span
from roformer.data.tokenize import tokenize_corpus
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS
from tests.choices import choices
from tests.tiny_runs import composed

FRACTIONS = {"validation_fraction": 0.0, "test_fraction": 0.0}
TEXTS = [
    "Ünïcode  ﬁrst:\tThe CAT sat… 𠮷田住在北京。\n他在上海工作。A\u0301 [SEP] e\u0301!",
    "今天天气非常好，RoFormer模型有12层。",
    "naïve café — \U0001f600 and  two  blanks ",
]


class Listed(Source):
    """Documents from memory."""

    def __init__(self, documents):
        self.items = documents

    def fingerprint(self) -> str:
        return json.dumps([[each.texts, each.spans] for each in self.items])

    def documents(self) -> Iterator[Document]:
        yield from self.items


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=[name for name in choices("tokenizer") if name != "pretrained"])
def tokenizer(request, cache):
    """Each tokenizer, trained on the texts."""
    settings = dict(composed("train", f"tokenizer={request.param}").tokenizer)
    settings.update({key: value for key, value in {"vocab_size": 400, "alphabet_size": 90}.items() if key in settings})
    source = Listed([Document(text) for text in TEXTS])
    return TOKENIZERS.build(settings).prepare(source, cache_dir=cache, **FRACTIONS)


def corpus_of(documents, tokenizer, folder):
    return tokenize_corpus(Listed(documents), tokenizer, cache_dir=folder, **FRACTIONS)


def test_places_are_exact(tokenizer, tmp_path):
    """Catches places in a normalized text, in bytes, or in a sentence instead of the text."""
    corpus = corpus_of([Document(text, spans=(Span(0, 1, "X"),)) for text in TEXTS], tokenizer, tmp_path)
    plain = corpus_of([Document(text) for text in TEXTS], tokenizer, tmp_path)
    split = corpus.splits["train"]
    assert split.tokens.tolist() == plain.splits["train"].tokens.tolist()
    for number, text in enumerate(TEXTS):
        places = split.annotations.places[split.offsets[number] : split.offsets[number + 1]]
        assert split.annotations.text(number) == text
        assert (np.diff(places[:, 0]) >= 0).all()
        assert (np.diff(places[:, 1]) >= 0).all()
        uncovered = set(range(len(text))) - {at for start, end in places for at in range(start, end)}
        assert all(text[at].isspace() or unicodedata.combining(text[at]) for at in uncovered)
        decoded = [tokenizer.convert_ids_to_tokens(int(token)) for token in split.document(number)]
        for token, (start, end) in zip(decoded, places, strict=True):
            if token.isascii() and token.isalpha() and text[start:end].isascii():
                assert text[start:end].strip().lower() == token.lower()
            if token in "今天气北京上海工作":
                assert text[start:end] == token


def test_places_are_those_of_the_last_text(tokenizer, tmp_path):
    """Catches places of a question that are taken for those of its context."""
    spans = (Span(4, 7, "answer"), Span(0, 3, "answer"))
    corpus = corpus_of([Document("Who sat?", extra_texts=("The CAT sat",), spans=spans)], tokenizer, tmp_path)
    split = corpus.splits["train"]
    middle = split.tokens.tolist().index(tokenizer.sep_token_id)
    places = split.annotations.places
    assert not places[: middle + 1].any()
    assert places[-1, 1] == len("The CAT sat")
    assert places[middle + 1, 0] == 0
    assert split.annotations.spans_of(0).tolist() == [[4, 7, 0], [0, 3, 0]]
    assert corpus.tags == ("answer",)


def test_spans_stay_with_their_documents(tokenizer, tmp_path):
    """Catches tags by the order of their first use, which differs from split to split, and shifted documents."""
    documents = [
        Document("ab", split="train", spans=(Span(0, 1, "Z"), Span(1, 2, "A"))),
        Document("cd", split="test", spans=(Span(0, 2, "M"),)),
        Document("ef", split="train", spans=()),
        Document("gh", split="train", spans=(Span(0, 1, "A"),)),
    ]
    corpus = corpus_of(documents, tokenizer, tmp_path)
    assert corpus.tags == ("A", "M", "Z")
    train, test = (corpus.splits[name].annotations for name in ("train", "test"))
    assert [train.spans_of(number).tolist() for number in range(3)] == [[[0, 1, 2], [1, 2, 0]], [], [[0, 1, 0]]]
    assert test.spans_of(0).tolist() == [[0, 2, 1]]
    assert [train.text(number) for number in range(3)] == ["ab", "ef", "gh"]


@pytest.mark.parametrize("splits", [("train", "train"), ("train", "test")])
def test_documents_with_and_without_spans_do_not_mix(tokenizer, tmp_path, splits):
    """Catches a document without spans that passes for one in which nothing is labeled."""
    documents = [Document("ab", split=splits[0], spans=()), Document("cd", split=splits[1])]
    with pytest.raises(UserError, match="some documents have labeled parts and some have none"):
        corpus_of(documents, tokenizer, tmp_path)


def test_other_corpora_are_written_as_before(tokenizer, tmp_path):
    """Catches files or keys that corpora without spans did not have: runs of before would not find their tokens."""
    documents = [Document("one", "x", extra_texts=("two",)), Document("three", "y", extra_texts=("four",))]
    folder = corpus_of(documents, tokenizer, tmp_path).folder
    meta = json.loads((folder / "meta.json").read_text())
    names = {"SHA256SUMS", "meta.json", "train.labels.npy", "train.offsets.npy", "train.tokens.npy"}
    assert {path.name for path in folder.iterdir()} - {".lock"} == names
    assert list(meta) == ["fingerprint", "label_names", "texts", "warnings", "splits"]
    stored = (folder / "train.tokens.npy").read_bytes()
    buffer = io.BytesIO()
    np.save(buffer, np.load(folder / "train.tokens.npy"))
    assert stored == buffer.getvalue()
