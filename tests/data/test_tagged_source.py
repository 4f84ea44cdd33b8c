"""Tagged words from CoNLL files and JSON: what is read, and where each word stands in the text."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.data.sources.tagged import TaggedSource
from roformer.errors import UserError

SETTINGS = {"token_column": 0, "tag_column": None, "tag_names": None, "encoding": None}


def read(path, **settings):
    """The words of each document with their tags, cut out of its text; and the texts."""
    documents = list(TaggedSource(path=str(path), **{**SETTINGS, **settings}).documents())
    words = [[(each.text[start:end], tag) for start, end, tag in each.spans] for each in documents]
    return words, [document.text for document in documents]


CONLL = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
"""
PEOPLE = [("Peter", "B-PER"), ("Blackburn", "I-PER")]


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_conll_files_are_read(tmp_path, separator, ends):
    """Catches tags of the wrong column, a sentence lost for want of a blank line, and -DOCSTART- as a word."""
    (tmp_path / "train.conll").write_bytes(CONLL.replace(" ", separator).replace("\n", ends).rstrip().encode())
    words, texts = read(tmp_path)
    assert words == [[("EU", "B-ORG"), ("rejects", "O"), ("German", "B-MISC")], PEOPLE]
    assert texts == ["EU rejects German", "Peter Blackburn"]
    words, _ = read(tmp_path, tag_column=1)
    assert words[0] == [("EU", "NNP"), ("rejects", "VBZ"), ("German", "JJ")]


@pytest.mark.parametrize("suffix", [".txt", ".tsv", ".conll", ".bio", ".bmes"])
def test_each_suffix_is_a_split_of_its_own(tmp_path, suffix):
    """Catches a .tsv file of CoNLL that is read as a table with a header."""
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}{suffix}").write_text(f"{name}\tB-PER\n")
    source = TaggedSource(path=str(tmp_path), **SETTINGS)
    assert {each.text: each.split for each in source.documents()} == {
        "train": "train", "dev": "validation", "test": "test",
    }  # fmt: skip


def test_chinese_characters_are_joined_without_blanks(tmp_path):
    """Catches a Chinese sentence in which a word tokenizer finds no words, and a year in pieces."""
    (tmp_path / "a.txt").write_text("\n".join(["北 B-LOC", "京 E-LOC", "2 O", "0 O", "0 O", "8 O", "， O", "𠮷 S-NR"]))
    words, texts = read(tmp_path)
    assert texts == ["北京2008，𠮷"]
    assert words == [list(zip("北京2008，𠮷", ["B-LOC", "I-LOC", "O", "O", "O", "O", "O", "B-NR"], strict=True))]
    rows = [{"tokens": ["RoFormer", "模型", "有", "12", "层"], "tags": ["X", "N", "V", "NUM", "N"]}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "b.jsonl")[1] == ["RoFormer 模型有 12 层"]


def test_rows_of_tokens_are_read(tmp_path):
    """Catches tags under the hub's name, as numbers or in parquet files that are not found."""
    row = {"id": "0", "tokens": ["Peter", "Blackburn"], "ner_tags": [1, 2]}
    names = ["O", "B-PER", "I-PER"]
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "b.json").write_text(json.dumps([row]))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "c.parquet")
    for file in ("a.jsonl", "b.json", "c.parquet"):
        assert read(tmp_path / file, tag_names=names)[0] == [PEOPLE]
    (tmp_path / "a.jsonl").write_text(json.dumps({**row, "tags": ["NOUN", "NOUN"], "other": ["A", "B"]}))
    assert read(tmp_path / "a.jsonl")[0] == [[("Peter", "NOUN"), ("Blackburn", "NOUN")]]
    assert read(tmp_path / "a.jsonl", tag_column="other")[0] == [[("Peter", "A"), ("Blackburn", "B")]]


def test_entities_of_a_text_become_tagged_words(tmp_path):
    """Catches an entity that loses a character, or gains a neighbor: within a word, next to punctuation."""
    text = "U.N. ambassador Ekeus飞往上海市长"
    found = [("Ekeus", "PER"), ("上海", "LOC"), ("U.N.", "ORG")]
    marked = [{"start": (at := text.index(name)), "end": at + len(name), "label": kind} for name, kind in found]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text, "entities": marked}))
    ((words,), (whole,)) = read(tmp_path)
    assert whole == text
    assert words == [
        ("U", "B-ORG"), (".", "I-ORG"), ("N", "I-ORG"), (".", "I-ORG"), ("ambassador", "O"), ("Ekeus", "B-PER"),
        ("飞", "O"), ("往", "O"), ("上", "B-LOC"), ("海", "I-LOC"), ("市", "O"), ("长", "O"),
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"text": "seaside", "entities": [{"start": 3, "end": 7, "label": 1}]})
    )
    assert read(tmp_path)[0] == [[("sea", "O"), ("side", "B-1")]]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.conll", "EU B-ORG\nrejects\n", r"line 2: 'rejects' is no word with a tag"),
        ("a.conll", "\tB-ORG\n", r"line 1: 'B-ORG' is no word with a tag"),
        ("a.conll", "\n\n", "contain no tagged sentence"),
        ("a.jsonl", '{"words": ["EU"]}', r"nor 'entities' \(it has: words\); name its columns 'tokens' and"),
        ("a.jsonl", '{"tokens": ["EU"]}', r"row 1 has no 'tags' \(it has: tokens\); set data\.tag_column"),
        ("a.jsonl", '{"tokens": ["EU"], "tags": []}', "must be lists of equal length, got 1 items and 0 items"),
        ("a.jsonl", '{"tokens": ["EU"], "ner_tags": [3]}', "row 1: 3 is no name of a tag.*data.tag_names"),
        ("a.jsonl", '{"tokens": ["", "b"], "tags": ["O", "O"]}', "'' in 'tokens' is no word"),
        ("a.jsonl", '{"tokens": ["\\ud800"], "tags": ["O"]}', "half of a character"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["\\ud800"]}', "half of a character"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [" "]}', "row 1: ' ' is no name of a tag"),
        ("a.tsv", "a\tO\nb\t \n", "line 2: ' ' is no name of a tag"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": null}]}', "and label"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": NaN}]}', "and label"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": ["X"]}]}', "list instead of a label"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 1, "label": "\\ud800"}]}', "half of a character"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 3, "label": "X"}]}', "needs start, end"),
        ("a.jsonl", '{"text": "ab", "entities": [{"start": 0, "end": 1}]}', "and label"),
        ("a.jsonl", '{"text": "a b", "entities": [{"start": 1, "end": 2, "label": "X"}]}', "needs start, end"),
        (
            "a.jsonl",
            '{"text": "abc", "entities": [{"start": 0, "end": 2, "label": 1}, {"start": 1, "end": 3, "label": 2}]}',
            "the entity at 1 overlaps another one",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, file, content, message):
    """Catches a traceback, and an entity that is dropped in silence."""
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_numbers_of_tags_are_checked(tmp_path):
    """Catches -1 that stands for the last tag, and a key for a file whose columns have none."""
    for number in (-1, 2, "x"):
        (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": ["a"], "tags": [number]}))
        with pytest.raises(UserError, match=r"is no number below 2, of data\.tag_names"):
            read(tmp_path, tag_names=["O", "B-X"])
    (tmp_path / "a.conll").write_text("EU B-ORG\n")
    with pytest.raises(UserError, match=r"data\.tag_column=ner"):
        read(tmp_path / "a.conll", tag_column="ner")


def test_a_setting_changes_the_fingerprint(tmp_path):
    """Catches tokens from the cache that are of another column."""
    (tmp_path / "a.conll").write_text(CONLL)
    changes = ({}, {"token_column": 1}, {"tag_column": 1}, {"tag_names": ["O"]})
    found = {TaggedSource(path=str(tmp_path), **{**SETTINGS, **change}).fingerprint() for change in changes}
    assert len(found) == len(changes)


def test_the_yaml_reads_a_file(tmp_path):
    """Catches settings that Hydra's lists do not fit."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": ["a"], "tags": [1]}))
    data = TrainConfig.compose("data=tagged", f"data.path={tmp_path}", "data.tag_names=[O,B-X]").data
    (document,) = Corpus.from_settings(data).source.documents()
    assert document.spans == ((0, 1, "B-X"),)
