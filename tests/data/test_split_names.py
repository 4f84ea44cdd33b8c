"""Which files are held out, and which are read at all: what names, folders and links say."""

import os
from pathlib import Path

import pytest

from roformer.data import SOURCES, Source
from roformer.data.repeated import WithoutRepeated
from roformer.errors import UserError

FRACTIONS = {"validation_fraction": 0.1, "test_fraction": 0.1}


def text(path: Path) -> Source:
    return SOURCES.build({"name": "text", "path": str(path), "text_column": "text"})


def labeled(path: Path) -> Source:
    return SOURCES.build({"name": "labeled", "path": str(path), "text_column": "text", "label_column": "label"})


def write(root: Path, *names: str) -> Path:
    """Writes files whose text is their name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text\n{name}" if name.endswith(".csv") else name)
    return root


def splits(source: Source) -> dict[str, str | None]:
    return {document.text: document.split for document in source.documents()}


@pytest.mark.parametrize(
    "names",
    [
        {"reviews_train.csv": "train", "reviews_test.csv": "test"},
        {"train.csv": "train", "eval.csv": "test"},
        {"train.csv": "train", "evaluation.csv": "validation", "test.csv": "test"},
        {"imdb-train-00000-of-00001.csv": "train", "imdb-test-00000-of-00001.csv": "test"},
        {"wiki.train.txt": "train", "wiki.valid.txt": "validation", "wiki.test.txt": "test"},
    ],
)
def test_a_split_may_stand_anywhere_in_a_name(tmp_path: Path, names: dict[str, str]) -> None:
    """Catches a held-out file that is trained on, and a cache from when it was."""
    source = text(write(tmp_path / "a", *names))
    assert splits(source) == names
    assert source.doubts() == []
    assert source.provided_splits() == set(names.values())


def test_titles_are_no_splits(tmp_path: Path) -> None:
    """Catches a document about tests that becomes the test split, where others have no split."""
    names = ("how we test.txt", "a train ride.txt", "notes.txt")
    assert splits(text(write(tmp_path, *names))) == dict.fromkeys(names)


def test_doubtful_splits_are_reported(tmp_path: Path) -> None:
    """Catches a split that is made of a title, and a test file that is trained on, without a word."""
    titles = text(write(tmp_path / "a", "test-driven development.txt", "notes.txt"))
    (doubt,) = titles.doubts()
    assert "test-driven development.txt is taken for a split for the name (test)" in doubt
    (doubt,) = text(write(tmp_path / "b", "reviews.csv", "reviews_test.csv")).doubts()
    assert "reviews_test.csv is divided like any other file; if it is a split" in doubt
    assert text(write(tmp_path / "c", "readme.txt", "train.txt", "test_00-of-01.txt", "test.de.txt")).doubts() == []
    assert text(write(tmp_path / "d", "test-1.txt", "train-2.txt")).doubts() == []
    (doubt,) = text(write(tmp_path / "e", "test-driven design.txt", "dev-ops.txt", "training plans.txt")).doubts()
    assert "dev-ops.txt and 2 more are taken for a split for the name (validation); rename" in doubt
    assert WithoutRepeated(titles, FRACTIONS).doubts() == titles.doubts()
    part = {"name": "text", "path": str(tmp_path / "a"), "text_column": "text"}
    assert SOURCES.build({"name": "mixture", "sources": [part, part]}).doubts() == titles.doubts() * 2


@pytest.mark.parametrize(
    "names",
    [
        ("heldout.csv", "train.csv"),
        ("validate.csv", "train.csv", "test.csv"),
        ("unknown.csv", "train.csv"),
        ("testset.csv", "trainset.csv"),
        ("testData.csv", "trainData.csv"),
        ("eval/a.csv", "train/a.csv"),
        ("my_test/a.csv", "my_train/a.csv"),
        ("eval/a.txt", "train/a.txt"),
        ("evaluation/pos/a.txt", "train/pos/a.txt"),
    ],
)
def test_a_split_of_another_name_is_reported(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Catches a held-out file, or a folder of them, that is trained on without a word."""
    (doubt,) = (labeled if "pos" in names[0] else text)(write(tmp_path, *names)).doubts()
    assert f"{names[0]} " in doubt
    assert "divided like any other file; if it is a split, let its name begin with train" in doubt


def test_common_words_are_no_splits(tmp_path: Path) -> None:
    """Catches a doubt about every file whose name holds the letters of a split."""
    for place, names in enumerate([("latest.csv", "contest.csv"), ("label=test/a.csv", "label=b/a.csv")]):
        assert text(write(tmp_path / str(place), *names)).doubts() == []


def test_pairs_of_files_may_hold_the_split_inside(tmp_path: Path) -> None:
    """Catches wmt.test.en that is trained on."""
    write(tmp_path, *(f"wmt.{split}.{language}" for split in ("train", "test") for language in ("en", "de")))
    source = SOURCES.build({"name": "parallel", "path": str(tmp_path), "source": "en", "target": "de"})
    assert splits(source) == {"wmt.train.en": "train", "wmt.test.en": "test"}
    assert source.provided_splits() == {"train", "test"}


def test_classes_may_lie_above_splits(tmp_path: Path) -> None:
    """Catches classes named train and test."""
    names = [f"{label}/{split}/1.txt" for label in ("pos", "neg") for split in ("train", "test")]
    found = {
        document.text: (document.label, document.split) for document in labeled(write(tmp_path, *names)).documents()
    }
    assert found == {name: tuple(name.split("/")[:2]) for name in names}


@pytest.mark.parametrize(
    "names",
    [
        ("bus/1.txt", "train/1.txt", "tram/1.txt"),
        ("bus/train/1.txt", "bus/test/1.txt", "train/train/1.txt", "train/test/1.txt"),
    ],
)
def test_a_class_with_the_name_of_a_split_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Catches the documents of a class "train" that vanish, or are those of a class "test"."""
    with pytest.raises(UserError, match="the folder 'train' was taken for a split"):
        labeled(write(tmp_path, *names))


def test_a_class_below_splits_may_have_any_name(tmp_path: Path) -> None:
    """Catches the class "train" that is dropped where splits lie above."""
    names = [f"{split}/{label}/1.txt" for label in ("bus", "train") for split in ("train", "test")]
    found = {
        document.text: (document.split, document.label) for document in labeled(write(tmp_path, *names)).documents()
    }
    assert found == {name: tuple(name.split("/")[:2]) for name in names}


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a permission for links")
def test_links_are_followed(tmp_path: Path) -> None:
    """Catches a linked folder that is skipped, a circle of links, a document twice, and a link that leads nowhere."""
    corpus, away = write(tmp_path / "corpus", "a.txt", "b/c.txt"), write(tmp_path / "away", "d.txt", "e/f.txt")
    for name, target in {"to": away, "again": away, "up": corpus, "b2": corpus / "b", "no": tmp_path / "no"}.items():
        (corpus / name).symlink_to(target)
    (away / "back").symlink_to(corpus)
    (away / "circle").symlink_to(away)
    source = text(corpus)
    assert sorted(splits(source)) == ["a.txt", "b/c.txt", "d.txt", "e/f.txt"]
    assert source.unread_files() == {"links that lead nowhere": 1}


def test_unfinished_files_of_other_programs_are_not_read(tmp_path: Path) -> None:
    """Catches half a shard that a cluster was writing; it is counted."""
    names = ("part-0.csv", "_temporary/0/part-1.csv", "__MACOSX/part-0.csv")
    source = text(write(tmp_path, *names))
    assert list(splits(source)) == ["part-0.csv"]
    assert source.unread_files() == {".csv files": 2}


def test_files_that_may_hold_documents_are_counted(tmp_path: Path) -> None:
    """Catches shards in another compression, or tables of another kind, that are skipped without a word."""
    unread = ("a.jsonl.lz4", "b.tar.gz", "c.zip", "d.v2.xlsx", "e.csv.bak", "f.jsonl.part", "g.csv~", "h.TXT.zip")
    others = ("a.csv.md5", ".a.csv.crc", "readme.md", "notes.pdf", "x.py")
    source = text(write(tmp_path, "a.csv", *unread, *others))
    assert list(splits(source)) == ["a.csv"]
    endings = (".jsonl.lz4", ".tar.gz", ".zip", ".xlsx", ".csv.bak", ".jsonl.part", ".csv", ".TXT.zip")
    assert source.unread_files() == {f"{ending} files": 1 for ending in endings}


def test_runs_results_and_caches_are_no_documents(tmp_path: Path) -> None:
    """Catches the second run within a corpus folder, which would train on the first one's files."""
    run = ("config.yaml", ".lock", "metrics.jsonl", "export/config.json")
    names = (
        *(f"outputs/run/{name}" for name in run),
        *("outputs/results/x.json", "outputs/report/comparison.json"),
        *("data/cache/tokens-0123456789abcdef0123/meta.json", "data/cache/tokenizer-0123456789abcdef0123/x.json"),
        *(f"other/{name}" for name in run),
    )
    source = text(write(tmp_path, "a.csv", *names))
    assert list(splits(source)) == ["a.csv"]
    assert not source.unread_files()
