"""Local files: every format, every layout, every mistake."""

import json
import random
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roformer.data import SOURCES, Document, Source
from roformer.data.sources._split_names import split_named
from roformer.data.sources._tables import read_rows
from roformer.errors import UserError

ROWS = [
    {"text": "one, two", "label": "a"},
    {"text": 'with "quotes"\nand lines', "label": "b"},
    {"text": "NA", "label": "a"},
]
WRITERS = {
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    ".json": lambda frame, path: frame.to_json(path, orient="records"),
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
}


def text(path: Path, **changes: Any) -> Source:
    return SOURCES.build({"name": "text", "path": str(path), "text_column": "text", **changes})


def labeled(path: Path, **changes: Any) -> Source:
    return SOURCES.build(
        {"name": "labeled", "path": str(path), "text_column": "text", "label_column": "label", **changes}
    )


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_documents(tmp_path: Path, suffix: str) -> None:
    """Catches a reader that loses quotes, line breaks, commas or the word NA."""
    path = tmp_path / f"corpus{suffix}"
    WRITERS[suffix](pandas.DataFrame(ROWS), path)
    assert list(text(path).documents()) == [Document(row["text"]) for row in ROWS]
    assert list(labeled(path).documents()) == [Document(row["text"], label=row["label"]) for row in ROWS]


def test_json_with_one_object_a_line_is_read(tmp_path: Path) -> None:
    """Catches .json files as the hub writes them."""
    write(tmp_path, {"corpus.json": '{"text": "one"}\n\n{"text": "two"}\n'})
    assert [document.text for document in text(tmp_path).documents()] == ["one", "two"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_empty_and_missing_cells_are_left_out(tmp_path: Path, suffix: str) -> None:
    """Catches null that becomes the text "None" or "nan"."""
    path = tmp_path / f"corpus{suffix}"
    rows = [{"text": None, "label": "a"}, {"text": " ", "label": "a"}, {"text": "kept", "label": None}, ROWS[0]]
    WRITERS[suffix](pandas.DataFrame(rows), path)
    assert [document.text for document in text(path).documents()] == ["kept", "one, two"]
    assert list(labeled(path).documents()) == [Document("one, two", label="a")]


@pytest.mark.parametrize("suffix", [*WRITERS, ".tsv", ".arrow"])
def test_blank_cells_of_every_format_are_missing(tmp_path: Path, suffix: str) -> None:
    """Catches a class '' or ' ' or 'nan', and a text that is a number in one format and missing in another."""
    rows = [("x", "a"), ("y", " "), ("z", ""), (" ", "a"), ("", "b"), ("w", "b")]
    frame = pandas.DataFrame(rows, columns=["text", "label"])
    path = tmp_path / f"a{suffix}"
    if suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.Schema.from_pandas(frame)) as stream:
            stream.write_table(pa.Table.from_pandas(frame))
    else:
        WRITERS[suffix](frame, path)
    source = labeled(path)
    assert list(source.documents()) == [Document("x", label="a"), Document("w", label="b")]
    assert source.skipped == {"rows without text or label": 4}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_nan_is_missing(tmp_path: Path, suffix: str) -> None:
    """Catches a class 'nan' of rows whose label pandas did not know, and a refusal of their texts."""
    numbers = [{"text": "x", "label": 1.0}, {"text": "y", "label": float("nan")}]
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"text": ["x", "y"], "label": pa.array([1.0, float("nan")], from_pandas=False)}), path)
    else:
        lines = [json.dumps(row) for row in [*numbers, {"text": float("nan"), "label": 2.0}]]
        path.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]")
    assert list(labeled(path).documents()) == [Document("x", label="1.0")]


def test_labels_become_strings(tmp_path: Path) -> None:
    """Catches integer classes that sort or compare otherwise than the rest of the package expects."""
    pandas.DataFrame({"text": ["x", "y"], "label": [10, 9]}).to_parquet(tmp_path / "a.parquet")
    assert [document.label for document in labeled(tmp_path).documents()] == ["10", "9"]


def test_a_single_text_file_is_separated_by_blank_lines(tmp_path: Path) -> None:
    """Catches a whole corpus read as one document."""
    write(tmp_path, {"corpus.txt": "\ufeffone\nstill one\n\n \n\ntwo\n  \nthree\n"})
    found = [document.text for document in text(tmp_path / "corpus.txt").documents()]
    assert found == ["one\nstill one", "two", "three"]


def test_a_folder_of_text_files_has_one_document_a_file(tmp_path: Path) -> None:
    """Catches paragraphs torn out of their document, unsorted files, and hidden ones."""
    write(tmp_path, {"b.txt": "b\n\nb", "a/z.txt": "a", "a/.hidden.txt": "no", ".git/c.txt": "no", "notes.pdf": "no"})
    assert [document.text for document in text(tmp_path).documents()] == ["a", "b\n\nb"]
    (tmp_path / "a/z.txt").unlink()  # a folder with one file is still a folder
    assert [document.text for document in text(tmp_path).documents()] == ["b\n\nb"]


def test_tables_win_over_text_files_beside_them(tmp_path: Path) -> None:
    """Catches a LICENSE.txt that becomes training text."""
    write(tmp_path, {"license.txt": "no", "corpus.jsonl": '{"text": "yes"}'})
    assert [document.text for document in text(tmp_path).documents()] == ["yes"]


def test_file_names_give_the_split(tmp_path: Path) -> None:
    """Catches a published test set that is trained on."""
    write(
        tmp_path, {"train-00000.csv": "text\na", "dev.csv": "text\nb", "test/00.csv": "text\nc", "more.csv": "text\nd"}
    )
    found = {document.text: document.split for document in text(tmp_path).documents()}
    assert found == {"a": "train", "b": "validation", "c": "test", "d": None}
    assert text(tmp_path).provided_splits() == {"train", "validation", "test"}
    assert text(tmp_path / "test/00.csv").provided_splits() == frozenset()  # one file: the whole corpus


def test_text_files_named_as_splits_are_separated_by_blank_lines(tmp_path: Path) -> None:
    """Catches train.txt read as one document."""
    write(tmp_path, {"train.txt": "one\n\ntwo", "valid.txt": "three"})
    assert [(d.text, d.split) for d in text(tmp_path).documents()] == [
        ("one", "train"), ("two", "train"), ("three", "validation"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("training.csv", "train"), ("TRAIN_1.txt", "train"), ("valid.json", "validation"),
        ("val", "validation"), ("validation-0.csv", "validation"), ("dev", "validation"), ("test.tsv", "test"),
        ("values.csv", None), ("developers", None), ("trains.csv", None), ("testimony.txt", None), ("a_test", None),
    ],
)  # fmt: skip
def test_only_whole_split_names_count(name: str, split: str | None) -> None:
    """Catches testimony.txt taken for a test set."""
    assert split_named(name) == split


def test_a_folder_per_class_is_read(tmp_path: Path) -> None:
    """Catches a wrong label, and text beside the class folders that gets one."""
    write(tmp_path, {"pos/1.txt": "good\n\nvery", "neg/1.txt": "bad", "readme.txt": "no"})
    assert list(labeled(tmp_path).documents()) == [
        Document("bad", label="neg"),
        Document("good\n\nvery", label="pos"),
    ]


def test_the_layout_of_aclimdb_is_read(tmp_path: Path) -> None:
    """Catches splits taken for classes, and the unlabeled folder taken for a third class."""
    write(tmp_path, {f"{s}/{c}/0_1.txt": f"{s} {c}" for s in ("train", "test") for c in ("pos", "neg", "unsup")})
    write(tmp_path, {"train/urls_pos.txt": "no", "imdb.vocab": "no"})
    found = {(document.split, document.label, document.text) for document in labeled(tmp_path).documents()}
    assert found == {(s, c, f"{s} {c}") for s in ("train", "test") for c in ("pos", "neg")}


def test_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    """Catches a stale cache after an edit that keeps the size, and a lost cache after a move."""
    first = write(tmp_path / "a", {"x.txt": "one", "y.txt": "two"})
    copy = write(tmp_path / "b", {"x.txt": "one", "y.txt": "two"})
    assert text(first).fingerprint() == text(copy).fingerprint()
    assert text(first).fingerprint() != text(first, text_column="body").fingerprint()
    write(copy, {"x.txt": "six"})
    assert text(first).fingerprint() != text(copy).fingerprint()


MISTAKES = {
    "missing": (lambda root: root / "nowhere", r"nowhere does not exist"),
    "unsupported file": (lambda root: write(root, {"a.pdf": ""}) / "a.pdf", r"a\.pdf.*supported:.*\.parquet"),
    "unsupported folder": (lambda root: write(root, {"a.pdf": ""}), r"no supported file in the folder"),
    "empty": (lambda root: write(root, {"a.txt": " \n"}), r"no documents in data\.path"),
    "column": (lambda root: write(root, {"a.csv": "texts,label\nx,y"}), r"'text'; did you mean 'texts'.*texts"),
    "json column": (lambda root: write(root, {"a.jsonl": '{"texts": 1}'}), r"line 1 has no column 'text'"),
    "json line": (lambda root: write(root, {"a.jsonl": '{"text": "x"}\n{"te'}), r"a\.jsonl, line 2 is not JSON"),
    "json list": (lambda root: write(root, {"a.json": '[{"text": "x"},\n{]'}), r"a\.json, line 2 is not JSON"),
    "json row": (lambda root: write(root, {"a.jsonl": "[1]"}), r"line 1 is a list"),
    "parquet": (lambda root: write(root, {"a.parquet": "no"}), r"a\.parquet is not a readable parquet file"),
    "csv": (lambda root: write(root, {"a.csv": 'text\n"x'}), r"a\.csv, line 2 is not readable"),
    "csv fields": (
        lambda root: write(root, {"a.csv": "id,text\n1,x\n2,y,z"}),
        r"a\.csv, line 3: 3 instead of 2 fields",
    ),
    "csv comma": (
        lambda root: write(root, {"a.csv": "text\nfirst, second"}),
        r"line 2: 2 instead of 1 fields",
    ),
    "csv header": (lambda root: write(root, {"a.csv": "\n\ntexts\nx"}), r"did you mean 'texts'"),
    "csv short": (lambda root: write(root, {"a.csv": "text,label\nx"}), r"line 2: 1 instead of 2 fields; add what"),
    "csv twice": (lambda root: write(root, {"a.csv": "text,text\nx,y"}), r"a\.csv has two columns named 'text'"),
    "empty csv": (lambda root: write(root, {"a.csv": ""}), r"its files contain no text"),
    "number": (lambda root: write(root, {"a.jsonl": '{"text": 3}'}), r"column 'text' contains int"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_in_one_line(tmp_path: Path, mistake: str) -> None:
    """Catches tracebacks of pandas, pyarrow or json in the place of the file and the remedy."""
    make, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as caught:
        list(text(make(tmp_path)).documents())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_text_that_is_not_utf8_is_named(tmp_path: Path, name: str) -> None:
    """Catches Latin-1 files that would be read as something else or end in a traceback."""
    (tmp_path / name).write_bytes(b"text\ncaf\xe9\n" if name != "a.jsonl" else b'{"text": "caf\xe9"}')
    with pytest.raises(UserError, match=rf"{name} is not UTF-8"):
        list(text(tmp_path).documents())


def test_text_files_without_classes_are_refused(tmp_path: Path) -> None:
    """Catches labels invented out of the name of the corpus folder or of a split."""
    write(tmp_path, {"a.txt": "x", "train/b.txt": "y"})
    with pytest.raises(UserError, match=r"no folder per class"):
        labeled(tmp_path)


def test_rows_without_labels_are_refused(tmp_path: Path) -> None:
    """Catches a classification corpus that is empty after the nulls are gone."""
    write(tmp_path, {"a.jsonl": json.dumps({"text": "x", "label": None})})
    with pytest.raises(UserError, match=r"no row has both"):
        list(labeled(tmp_path).documents())


def test_a_parquet_file_is_not_kept_in_memory(tmp_path):
    """Catches a reader that holds on to all that it has read: memory would grow with the corpus."""
    noise = random.Random(0)
    texts = [noise.randbytes(2000).hex() for _ in range(12000)]
    file = tmp_path / "large.parquet"
    pq.write_table(pa.table({"text": texts}), file, row_group_size=200)
    before, most = pa.total_allocated_bytes(), 0
    for number, _ in enumerate(read_rows(file, ["text"])):
        most = max(most, pa.total_allocated_bytes() - before) if number % 500 == 0 else most
    assert 0 < most < file.stat().st_size / 2
