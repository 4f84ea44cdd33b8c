"""Translations from tables and from files of lines."""

import pytest
from datasets import Dataset, DatasetDict

from roformer.data import SOURCES
from roformer.errors import UserError


def parallel(path, **settings):
    return SOURCES.build({"name": "parallel", "path": str(path), "source": "en", "target": "de", **settings})


def found(source):
    return [(document.split, document.texts) for document in source.documents()]


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_lines_of_two_files_belong_together(tmp_path):
    """Catches a shifted line, blank pairs that count, and a split that is not read from the name."""
    write(tmp_path, train_en="a\n\nb\nc \n", train_de="A\nX\n\nC\n", test_en="t\n", test_de="T", README_md="no text")
    source = parallel(tmp_path)
    assert found(source) == [("test", ("t", "T")), ("train", ("a", "A")), ("train", ("c", "C"))]
    assert source.provided_splits() == {"train", "test"}
    swapped = parallel(tmp_path, source="de", target="en")
    assert found(swapped)[0] == ("test", ("T", "t"))
    assert swapped.fingerprint() != source.fingerprint()


def test_a_carriage_return_ends_no_line(tmp_path):
    """Catches pairs that are shifted from a stray sign on, as text from the web has it."""
    (tmp_path / "train.en").write_bytes(b"one\rmore\r\ntwo\n")
    (tmp_path / "train.de").write_bytes(b"eins\nzwei\n")
    assert found(parallel(tmp_path)) == [("train", ("one\rmore", "eins")), ("train", ("two", "zwei"))]


@pytest.mark.parametrize("suffix", ["tsv", "jsonl"])
def test_columns_of_a_table(tmp_path, suffix):
    """Catches columns in the order of the file, and rows that lack a side."""
    text = {
        "tsv": "de\ten\nA\ta\n\tb\n",
        "jsonl": '{"de": "A", "en": "a"}\n{"de": null, "en": "b"}\n',
    }[suffix]
    (tmp_path / f"validation.{suffix}").write_text(text)
    assert found(parallel(tmp_path)) == [("validation", ("a", "A"))]
    assert found(parallel(tmp_path / f"validation.{suffix}")) == [(None, ("a", "A"))]


def test_what_changes_the_pairs_changes_the_fingerprint(tmp_path):
    """Catches a cache of an older corpus."""
    before = parallel(write(tmp_path, train_en="a\n", train_de="A\n")).fingerprint()
    assert parallel(tmp_path).fingerprint() == before
    assert parallel(write(tmp_path, train_de="B\n")).fingerprint() != before


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"train_en": "a\nb\n", "train_de": "A\n"}, r"train.de ends before line 2 of .*train.en"),
        ({"train_en": "a\n", "train_de": "A\nB\n"}, r"train.en ends before line 2 of .*train.de"),
        ({"train_en": "a\n"}, r"train.en has no matching train.de .*data.source=en and data.target=de"),
        ({"valid_de": "a\n"}, r"valid.de has no matching valid.en"),
        ({"train_en": "\n", "train_de": "\n"}, "no pair has text on both sides"),
        ({"train_csv": "en,fr\na,b\n"}, "has no column 'de'"),
        ({"train_txt": "a\n"}, r"is not a table: name .* train.en and train.de"),
        ({}, "no supported file"),
    ],
    ids=[
        "short target",
        "short source",
        "unpaired source",
        "unpaired target",
        "blank",
        "column",
        "plain text",
        "nothing",
    ],
)
def test_what_is_no_parallel_corpus(tmp_path, files, named):
    """Catches pairs that are made of lines which do not belong together, and errors that name no file."""
    with pytest.raises(UserError, match=named):
        found(parallel(write(tmp_path, **files)))


def test_a_language_is_not_its_own_translation(tmp_path):
    """Catches a model that learns to copy and has a perfect score."""
    write(tmp_path, train_en="a\n", train_de="A\n")
    settings = {"name": "parallel", "path": str(tmp_path), "source": "en", "target": "en"}
    with pytest.raises(UserError, match="are both 'en'"):
        SOURCES.build(settings)


@pytest.mark.parametrize("language", ["en", "de"])
def test_bytes_that_are_no_text(tmp_path, language):
    """Catches a traceback for a file in another encoding, and the name of the other file."""
    write(tmp_path, train_en="A\n", train_de="A\n")
    (tmp_path / f"train.{language}").write_bytes(b"\xff\xff\n")
    with pytest.raises(UserError, match=rf"train.{language} is not UTF-8 text"):
        found(parallel(tmp_path))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_columns_may_hold_objects(tmp_path, streaming):
    """Catches WMT's column of objects, of which a language is a field."""
    rows = [{"translation": {"de": "A", "en": "a"}}, {"translation": {"de": "", "en": "b"}}]
    DatasetDict({"train": Dataset.from_list(rows)})["train"].to_parquet(str(tmp_path / "train.parquet"))
    settings = {"config_name": None, "revision": None, "streaming": streaming, "label_column": None}
    settings |= {"document_start": None, "rows_per_document": None, "dataset": str(tmp_path), "name": "hub"}
    source = SOURCES.build({**settings, "text_column": ["translation.en", "translation.de"]})
    assert found(source) == [("train", ("a", "A"))]
    with pytest.raises(UserError, match=r"no column 'translation\.fr'"):
        found(SOURCES.build({**settings, "text_column": ["translation.en", "translation.fr"]}))
