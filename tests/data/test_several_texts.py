"""Documents of several texts: pairs and triplets, from files and from the hub's format, to tokens and back."""

import json

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from roformer.data import SOURCES, Document
from roformer.data.splits import split_documents
from roformer.data.tokenize import tokenize_corpus
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

SHARES = {"validation_fraction": 0.2, "test_fraction": 0.2}
WORDPIECE = {"name": "wordpiece", "vocab_size": 200, "alphabet_size": 40, "lowercase": True, "max_characters": None}


@pytest.fixture
def pairs(tmp_path):
    """A file of 60 questions with answers, some of which hold a [SEP] that somebody wrote."""
    rows = [
        {"question": f"what is number {n}", "answer": f"it is [SEP] {n} " * (n % 3 + 1), "label": n % 2}
        for n in range(60)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def labeled(path, columns=("question", "answer")):
    return SOURCES.build({"name": "labeled", "path": str(path), "text_column": list(columns), "label_column": "label"})


def tokenized(source, cache):
    tokenizer: PreTrainedTokenizerFast = TOKENIZERS.build(WORDPIECE).prepare(source, cache_dir=cache, **SHARES)
    return tokenizer, tokenize_corpus(source, tokenizer, cache_dir=cache, **SHARES)


def test_texts_are_read_in_the_order_of_the_columns(pairs):
    """Catches texts that are joined, swapped or lost."""
    for source, swapped in (
        (labeled(pairs), False),
        (labeled(pairs, ["answer", "question"]), True),
    ):
        for n, document in enumerate(source.documents()):
            texts = (f"what is number {n}", f"it is [SEP] {n} " * (n % 3 + 1))
            assert document.texts == (texts[::-1] if swapped else texts)
            assert document.label == str(n % 2)
    assert labeled(pairs).fingerprint() != labeled(pairs, ["answer", "question"]).fingerprint()


def test_one_column_in_a_list_is_one_column(pairs):
    """Catches caches that are made anew for the same content."""
    listed, plain = (
        SOURCES.build({"name": "labeled", "path": str(pairs), "text_column": column, "label_column": "label"})
        for column in (["answer"], "answer")
    )
    assert listed.fingerprint() == plain.fingerprint()
    assert list(listed.documents()) == list(plain.documents())


def test_a_row_that_lacks_a_text_is_left_out(tmp_path):
    """Catches pairs of one, and a second text that slips to the first place."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": "one", "b": null, "label": 1}\n{"a": "two", "b": "three", "label": 0}')
    (document,) = labeled(file, "ab").documents()
    assert document.texts == ("two", "three")
    with pytest.raises(UserError, match=r"has no column 'c'"):
        list(labeled(file, "ac").documents())


def test_a_pair_is_split_as_one(pairs):
    """Catches a split that goes by the first text alone: pairs that share it would lean to one side."""
    splits = {}
    for split, document in split_documents(labeled(pairs), **SHARES):
        splits.setdefault(split, []).append(document)
    assert set(splits) == {"train", "validation", "test"}
    same = [split for split, _ in split_documents(_Same(), **SHARES)]
    assert len(set(same)) == 3


class _Same(SOURCES["labeled"]):
    """Pairs with one first text."""

    def __init__(self):
        self.files = []

    def documents(self):
        return (Document("the same", extra_texts=(f"other {n}",)) for n in range(60))


def test_tokens_keep_texts_apart(pairs, tmp_path):
    """Catches a [SEP] that somebody wrote and that would cut a text in two, and one too many at the end."""
    tokenizer, corpus = tokenized(labeled(pairs), tmp_path / "cache")
    assert corpus.texts == 2
    documents = {}
    for split, document in split_documents(labeled(pairs), **SHARES):
        documents.setdefault(split, []).append(document)
    for split, found in documents.items():
        for index, document in enumerate(found):
            tokens = corpus.splits[split].document(index)
            parts = np.split(tokens, np.flatnonzero(tokens == tokenizer.sep_token_id))
            expected = [
                tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids for text in document.texts
            ]
            assert [part.tolist() for part in (parts[0], parts[1][1:])] == expected


def test_a_corpus_has_as_many_texts_everywhere(tmp_path):
    """Catches pairs and single texts in one corpus, of which a task could make nothing."""
    (tmp_path / "a.jsonl").write_text('{"a": "one", "b": "two", "label": 1}\n' * 3)
    (tmp_path / "b.jsonl").write_text('{"a": "one", "b": "two", "label": 1}\n' * 3)
    sources = [
        {"name": "labeled", "path": str(tmp_path / f"{name}.jsonl"), "text_column": columns, "label_column": "label"}
        for name, columns in (("a", ["a", "b"]), ("b", ["a"]))
    ]
    source = SOURCES.build({"name": "mixture", "sources": sources})
    tokenizer = TOKENIZERS.build(WORDPIECE).prepare(
        source, cache_dir=tmp_path, validation_fraction=0.0, test_fraction=0.0
    )
    with pytest.raises(UserError, match="documents of 1 and 2 texts"):
        tokenize_corpus(source, tokenizer, cache_dir=tmp_path, validation_fraction=0.0, test_fraction=0.0)


def test_the_hub_has_pairs_too(pairs, tmp_path):
    """Catches a second reader that knows one text only."""
    settings = {
        "name": "hub", "dataset": str(pairs.parent), "config_name": None, "revision": None, "streaming": False,
        "text_column": ["question", "answer"], "label_column": "label", "document_start": None,
        "rows_per_document": None,
    }  # fmt: skip
    ours = [(document.texts, document.label) for document in labeled(pairs).documents()]
    assert [(document.texts, document.label) for document in SOURCES.build(settings).documents()] == ours
    with pytest.raises(UserError, match="exclude one another"):
        SOURCES.build({**settings, "label_column": None, "rows_per_document": 2})
