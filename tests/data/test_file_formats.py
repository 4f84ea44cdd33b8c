"""Files as people have them: compressed, in other encodings, in several parts, written by other programs."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from roformer.data import SOURCES, Document
from roformer.errors import UserError

ROWS = [{"text": f'owl {i}, "wise" and grün', "label": "ab"[i % 2]} for i in range(6)]
TEXTS = [row["text"] for row in ROWS]


def zstd(content: bytes) -> bytes:
    out = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
CONTENTS = {
    ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    ".ndjson": "".join(json.dumps(row) + "\n" for row in ROWS),
    ".json": json.dumps(ROWS),
    ".csv": pandas.DataFrame(ROWS).to_csv(index=False),
    ".tsv": "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in ROWS),
    ".txt": "\n\n".join(TEXTS),
}


def texts_of(path: Any, **changes: Any) -> list[str]:
    source = SOURCES.build({"name": "text", "path": path, "text_column": "text", **changes})
    return [document.text for document in source.documents()]


def labeled(path: Any, **changes: Any) -> Any:
    return SOURCES.build({"name": "labeled", "path": path, "text_column": "text", "label_column": "label", **changes})


def write(root: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return str(root)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_compressed_files_are_read(tmp_path: Path, suffix: str, compression: str) -> None:
    """Catches a compressed shard that is skipped, or refused."""
    name = f"part-0{suffix}{compression}"
    write(tmp_path, {name: COMPRESS[compression](CONTENTS[suffix].encode())})
    assert texts_of(str(tmp_path / name)) == TEXTS
    if suffix != ".txt":
        assert texts_of(str(tmp_path)) == TEXTS


def test_compression_is_known_by_the_content(tmp_path: Path) -> None:
    """Catches an archive that somebody named .csv, and a plain file named .gz."""
    path = write(tmp_path, {"a.csv": gzip.compress(CONTENTS[".csv"].encode()), "b.csv.gz": CONTENTS[".csv"]})
    assert texts_of(path) == TEXTS * 2


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_cut_archive_is_refused(tmp_path: Path, compression: str) -> None:
    """Catches a download that broke off, and is trained on as far as it came."""
    content = COMPRESS[compression]("".join(f'{{"text": "owl {i * i}"}}\n' for i in range(20_000)).encode())
    path = write(tmp_path, {f"a.jsonl{compression}": content[: len(content) // 2]})
    with pytest.raises(UserError, match=r"a\.jsonl\..* is a damaged archive"):
        texts_of(path)


def test_an_archive_next_to_its_content_is_not_read_twice(tmp_path: Path) -> None:
    """Catches every document twice after gunzip --keep."""
    plain = CONTENTS[".jsonl"]
    path = write(tmp_path, {"a.jsonl": plain, "a.jsonl.gz": gzip.compress(plain.encode())})
    assert texts_of(path) == TEXTS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("suffix", CONTENTS)
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, suffix: str, encoding: str) -> None:
    """Catches tables of Excel, which are refused or have letters in front of the first column's name."""
    path = write(tmp_path, {f"a{suffix}": CONTENTS[suffix].encode(encoding)})
    assert texts_of(f"{path}/a{suffix}", encoding="latin-1") == TEXTS


@pytest.mark.parametrize("suffix", CONTENTS)
def test_an_encoding_can_be_given(tmp_path: Path, suffix: str) -> None:
    """Catches a reader that does not take the setting."""
    path = write(tmp_path, {f"a{suffix}": CONTENTS[suffix].encode("cp1252")})
    assert texts_of(f"{path}/a{suffix}", encoding="cp1252") == TEXTS


def test_text_full_of_nul_bytes_is_no_utf_8(tmp_path: Path) -> None:
    """Catches UTF-16 without a mark, which is read as letters with NUL bytes between them."""
    path = write(tmp_path, {"a.txt": "an owl".encode("utf-16-le")})
    with pytest.raises(UserError, match=r"a\.txt seems to be UTF-16.*data\.encoding=utf-16-le"):
        texts_of(path)
    assert texts_of(path, encoding="utf-16-le") == ["an owl"]
    assert texts_of(write(tmp_path, {"a.txt": "an owl\0 and more"})) == ["an owl\0 and more"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"encoding": "utf-99"}, "data.encoding=utf-99 is no encoding"),
        ({"encoding": "base64"}, "data.encoding=base64 is no encoding"),
        ({"delimiter": "::"}, "data.delimiter=:: is not one character"),
        ({"delimiter": '"'}, "is not one character that can separate"),
        ({"sample_by": "lines"}, "sample_by='lines' is not possible"),
    ],
)
def test_settings_of_formats_are_checked(tmp_path: Path, setting: dict[str, str], message: str) -> None:
    """Catches a LookupError of Python in the middle of a corpus."""
    with pytest.raises(UserError, match=message):
        texts_of(write(tmp_path, {"a.txt": "x"}), **setting)


@pytest.mark.parametrize(("delimiter", "character"), [("semicolon", ";"), (";", ";"), ("tab", "\t"), ("|", "|")])
def test_a_delimiter_can_be_given(tmp_path: Path, delimiter: str, character: str) -> None:
    """Catches tables of a Europe of semicolons."""
    path = write(tmp_path, {"a.csv": pandas.DataFrame(ROWS).to_csv(index=False, sep=character)})
    assert texts_of(path, delimiter=delimiter) == TEXTS


def test_quotes_of_a_tsv_are_text(tmp_path: Path) -> None:
    """Catches a line that begins with a quote and swallows the lines after it, labels and all."""
    lines = ["text\tlabel", '"a\tpos', "b\tneg", '"c" said she\tpos', '"d"\tneg']
    found = list(labeled(write(tmp_path, {"a.tsv": "\n".join(lines)})).documents())
    assert [(document.text, document.label) for document in found] == [
        ('"a', "pos"), ("b", "neg"), ('"c" said she', "pos"), ('"d"', "neg"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", ['"text"\t"label"\n"a"\t"b"\n', 'text\tlabel\n"a ""b"""\tc\n', 'text\tlabel\n"a\tb"\tc\n']
)
def test_a_tsv_in_quotes_is_refused(tmp_path: Path, content: str) -> None:
    """Catches quotes that another program wrote around fields, and that would be trained on."""
    path = write(tmp_path, {"a.tsv": content})
    with pytest.raises(UserError, match=r"a\.tsv.*quotes are text in a \.tsv.*data\.delimiter=tab"):
        texts_of(path)
    Path(path, "a.tsv").rename(Path(path, "a.csv"))
    assert len(texts_of(path, delimiter="tab")) == 1


def test_a_pointer_of_git_lfs_is_no_document(tmp_path: Path) -> None:
    """Catches a corpus of hashes."""
    for suffix in (".txt", ".csv", ".parquet", ".arrow"):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        path = write(tmp_path / suffix, {f"a{suffix}": pointer})
        with pytest.raises(UserError, match=r"is a pointer of git-lfs.*git lfs pull"):
            texts_of(path)


@pytest.mark.parametrize("content", ['{\n "text": "a"\n}', '{\n "text": "a"\n}\n\n{\n "text": "b"\n}\n'])
def test_indented_objects_are_read(tmp_path: Path, content: str) -> None:
    """Catches "is not JSON" of one indented object per file."""
    assert texts_of(write(tmp_path, {"a.json": content})) == ["a", "b"][: content.count("text")]


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Catches the text of another column; keys that nobody reads may be twice."""
    assert texts_of(write(tmp_path / "a", {"a.jsonl": '{"text": "a", "x": 1, "x": 2}'})) == ["a"]
    for name, content in {"a.jsonl": '{"text": "a", "text": "b"}', "a.json": '[{"text": "a", "text": "b"}]'}.items():
        with pytest.raises(UserError, match=r"line 1 cannot be read: it has 'text' twice"):
            texts_of(write(tmp_path / name, {name: content}))
    nested = write(tmp_path / "nested", {"a.jsonl": '{"translation": {"en": "a", "en": "b"}}'})
    with pytest.raises(UserError, match=r"it has 'en' twice"):
        texts_of(nested, text_column="translation.en")
    table = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"two columns named 'text'"):
        texts_of(str(tmp_path / "a.parquet"))


def test_fields_of_objects_are_columns(tmp_path: Path) -> None:
    """Catches {"translation": {"en": ...}} of run_translation, which data=hub reads."""
    rows = [{"translation": {"en": f"owl {i}", "de": f"Eule {i}"}} for i in range(3)] + [{"translation": None}]
    write(
        tmp_path, {"json/a.jsonl": "\n".join(map(json.dumps, rows)), "csv/a.csv": "translation.en,translation.de\na,b"}
    )
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    for path in ("json", "a.parquet"):
        settings = {"name": "parallel", "source": "translation.en", "target": "translation.de"}
        source = SOURCES.build({**settings, "path": str(tmp_path / path)})
        assert [document.texts for document in source.documents()] == [(f"owl {i}", f"Eule {i}") for i in range(3)]
        assert source.skipped == {"pairs with a blank side": 1}
        with pytest.raises(UserError, match=r"no column 'translation\.fr'"):
            list(SOURCES.build({**settings, "path": str(tmp_path / path), "target": "translation.fr"}).documents())
    assert texts_of(str(tmp_path / "csv"), text_column="translation.en") == ["a"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_folders_of_a_partition_are_a_column(tmp_path: Path, suffix: str) -> None:
    """Catches the column that Spark, pandas and pyarrow write into names of folders."""
    for label in ("pos", "a%20b"):
        folder = tmp_path / "split=train" / f"label={label}"
        folder.mkdir(parents=True)
        frame = pandas.DataFrame({"text": [label]})
        frame.to_csv(folder / "a.csv", index=False) if suffix == ".csv" else frame.to_parquet(folder / "a.parquet")
    found = list(labeled(str(tmp_path)).documents())
    assert found == [Document("a%20b", "a b", "train"), Document("pos", "pos", "train")]


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    """Catches state.json that is read as data, and cached tables in the same folder."""
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=2)
    (tmp_path / "one" / "cache-0123.arrow").write_bytes((tmp_path / "one" / "data-00000-of-00002.arrow").read_bytes())
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "two")
    assert texts_of(str(tmp_path / "one")) == TEXTS
    found = list(labeled(str(tmp_path / "two")).documents())
    assert [document.split for document in found] == ["test"] * 6 + ["train"] * 6
    assert [document.label for document in found] == [row["label"] for row in ROWS] * 2
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match=r"data-00001-of-00002\.arrow is missing"):
        texts_of(str(tmp_path / "one"))


def test_patterns_and_lists_are_read_as_a_folder(tmp_path: Path) -> None:
    """Catches a TypeError of pathlib, splits that are lost, and a file that is read twice."""
    path = write(tmp_path, {"a/train.csv": "text\n1", "a/test.csv": "text\n2", "b/more.csv": "text\n3", "c.pdf": ""})
    assert texts_of(f"{path}/*/*.csv") == texts_of([f"{path}/a", f"{path}/b/*.csv"]) == ["2", "1", "3"]
    assert texts_of([f"{path}/a/train.csv", f"{path}/a"]) == ["2", "1"]
    source = SOURCES.build(
        {"name": "text", "path": [f"{path}/a/train.csv", f"{path}/a/test.csv"], "text_column": "text"}
    )
    assert source.provided_splits() == {"train", "test"}
    with pytest.raises(UserError, match=r"\*\.csv matches no supported file"):
        texts_of([f"{path}/a", f"{path}/d/*.csv"])
    with pytest.raises(UserError, match=r"c\.pdf has an unsupported file type"):
        texts_of([f"{path}/a", f"{path}/c.pdf"])
    with pytest.raises(UserError, match=r"data\.path is empty"):
        texts_of([])


def test_a_folder_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    assert texts_of(write(tmp_path / "v[2]", {"a.txt": "x"})) == ["x"]


@pytest.mark.parametrize(
    ("sample_by", "expected"),
    [("line", ["a", "b", "c"]), ("paragraph", ["a\nb", "c"]), ("document", ["a\nb\n\nc"])],
)
def test_documents_of_a_text_file(tmp_path: Path, sample_by: str, expected: list[str]) -> None:
    """Catches one sentence per line read as one document, without a way to say it."""
    path = write(tmp_path, {"a.txt": "a\nb\n\nc\n"})
    assert texts_of(path, sample_by=sample_by) == texts_of(f"{path}/a.txt", sample_by=sample_by) == expected


def test_an_empty_part_has_no_rows(tmp_path: Path) -> None:
    """Catches a corpus that is refused for the empty files that Spark writes."""
    assert texts_of(write(tmp_path, {"part-0.csv": "text\na\n", "part-1.csv": "", "part-2.jsonl": ""})) == ["a"]


def test_fingerprints_follow_the_settings_of_formats(tmp_path: Path) -> None:
    """Catches a cache that was read in another encoding, and one that is lost since the settings exist."""
    path = write(tmp_path, {"a.txt": "a\nb"})

    def key(**changes: str) -> str:
        return SOURCES.build({"name": "text", "path": path, "text_column": "text", **changes}).fingerprint()

    assert len({key(), key(encoding="latin-1"), key(delimiter=";"), key(sample_by="line")}) == 4
    assert key() == "f414c5a24d4922cc8c4f"  # of version 0.1


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl.gz"])
def test_the_byte_that_is_no_text_is_named(tmp_path: Path, name: str) -> None:
    """Catches a place that counts from the block in which the byte is."""
    row = ('{"text": "é"}\n' if "json" in name else "text\n" * 3 + "é\n").encode()
    content = row * 10_000 + b"caf\xe9"
    path = write(tmp_path, {name: gzip.compress(content) if name.endswith("gz") else content})
    with pytest.raises(UserError, match=rf"{name} is not UTF-8 text: .* at byte {len(content) - 1} \(convert"):
        texts_of(path)


def test_a_damaged_arrow_file_is_refused(tmp_path: Path) -> None:
    """Catches a traceback, and offsets out of bounds that end the process."""
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path)
    (file,) = tmp_path.glob("*.arrow")
    whole = file.read_bytes()
    damaged = {
        "half": whole[: len(whole) // 2],
        "name": whole.replace(b"text", b"te\xfft"),
        "offset": whole.replace((len(TEXTS[0].encode())).to_bytes(4, "little"), b"\xff\xff\xff\x7f", 1),
        "none": b"",
    }
    for content in damaged.values():
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"is not a file of datasets\.save_to_disk"):
            texts_of(str(tmp_path))
