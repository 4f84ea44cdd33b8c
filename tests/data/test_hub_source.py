"""The hub source, on local folders that load_dataset reads the same way, and the mixture."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from roformer.data import SOURCES, Document, Source
from roformer.errors import UserError

DEFAULTS = {
    "name": "hub", "config_name": None, "revision": None, "streaming": False, "text_column": "text",
    "label_column": None, "document_start": None, "rows_per_document": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")


def hub(dataset: Path | str, **changes: Any) -> Source:
    return SOURCES.build({**DEFAULTS, "dataset": str(dataset), **changes})


def folder(root: Path, **splits: list[dict[str, Any]]) -> Path:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    for name, rows in splits.items():
        (root / "set").mkdir(exist_ok=True)
        datasets.Dataset.from_list(rows, features=features).to_parquet(root / "set" / f"{name}.parquet")
    return root / "set"


def rows(*texts: str | None, label: int = 0) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text in texts]


@pytest.mark.parametrize("streaming", [False, True])
def test_splits_and_class_names_are_kept(tmp_path: Path, streaming: bool) -> None:
    """Catches lost class names, rows of a hidden test set (label -1), and null text."""
    path = folder(tmp_path, train=rows("a", None) + rows("b", label=1), test=rows("c") + rows("d", label=-1))
    source = hub(path, label_column="label", streaming=streaming)
    assert source.provided_splits() == {"test"}
    assert list(source.documents()) == [
        Document("a", "neg", "train"), Document("b", "pos", "train"), Document("c", "neg", "test"),
    ]  # fmt: skip


def test_missing_labels_and_lists_are_no_classes(tmp_path: Path) -> None:
    """Catches a class '' or "['a']" of a dataset without names of its classes."""
    for name, labels in {"blank": ["a", "", " ", None, "b"], "lists": [["a"], ["b"]]}.items():
        (tmp_path / name).mkdir()
        data = datasets.Dataset.from_dict({"text": list("vwxyz")[: len(labels)], "label": labels})
        data.to_parquet(tmp_path / name / "train.parquet")
    source = hub(tmp_path / "blank", label_column="label")
    assert [(document.text, document.label) for document in source.documents()] == [("v", "a"), ("z", "b")]
    assert source.skipped == {"rows without a label": 3}
    with pytest.raises(UserError, match="column 'label' contains list instead of a label"):
        list(hub(tmp_path / "lists", label_column="label").documents())


@pytest.mark.parametrize("streaming", [False, True])
def test_long_rows_are_cut_and_other_folders_left_alone(tmp_path: Path, streaming: bool) -> None:
    """Catches a cut that loses or changes characters, and a copy in another folder that is read as well."""
    text = "line one\n\n  line two \n" * 3
    for place in ("raw", "lines"):
        (tmp_path / "set" / place / "train").mkdir(parents=True)
        datasets.Dataset.from_dict({"text": [text]}).to_parquet(tmp_path / "set" / place / "train" / "0000.parquet")
    source = hub(tmp_path / "set", data_dir="raw", characters_per_document=10, streaming=streaming)
    found = [document.text for document in source.documents()]
    assert "".join(found) == text
    assert {len(each) for each in found[:-1]} == {10}
    others = [hub(tmp_path / "set", data_dir="raw", characters_per_document=size) for size in (10, 11)]
    assert source.fingerprint() == others[0].fingerprint() != others[1].fingerprint()


def test_numbers_may_be_negative(tmp_path: Path) -> None:
    """Catches a label of -1 among numbers that is taken for a hidden one."""
    (tmp_path / "set").mkdir()
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [-1.0, 0.5]})
    table.to_parquet(tmp_path / "set" / "train.parquet")
    source = hub(tmp_path / "set", label_column="label")
    assert [document.label for document in source.documents()] == ["-1.0", "0.5"]


def test_unsupervised_splits_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a third kind of split that would be trained on as labeled text."""
    loaded = {name: datasets.Dataset.from_list(rows(name)) for name in ("unsupervised", "validation", "train")}
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: loaded)
    assert [document.text for document in hub("x").documents()] == ["train", "validation"]
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"all": loaded["train"]})
    with pytest.raises(UserError, match="dataset 'x' has no split named train, validation, valid, dev, test: all"):
        list(hub("x").documents())


def test_lines_are_joined_to_documents(tmp_path: Path) -> None:
    """Catches WikiText read as one document a line, and sections taken for articles."""
    lines = [" = First = \n", "", " text \n", " = = Section = = \n", " more \n", " = Second = \n", " end \n"]
    source = hub(folder(tmp_path, train=rows(*lines)), document_start="^ = [^=]")
    assert [document.text for document in source.documents()] == [
        "= First =\ntext\n= = Section = =\nmore", "= Second =\nend",
    ]  # fmt: skip


def test_sentences_are_joined_to_documents(tmp_path: Path) -> None:
    """Catches BookCorpus read as one document a sentence, and a lost last document."""
    source = hub(folder(tmp_path, train=rows("a", "b", None, "c")), rows_per_document=2)
    assert [document.text for document in source.documents()] == ["a\nb", "c"]


def test_fingerprint_follows_the_settings_and_a_local_content(tmp_path: Path) -> None:
    """Catches a stale cache after another column, revision or file."""
    path = folder(tmp_path, train=rows("a"))
    keys = {hub(path).fingerprint(), hub(path, text_column="label").fingerprint()}
    keys |= {hub(path, revision="x").fingerprint(), hub("imdb").fingerprint(), hub("imdb2").fingerprint()}
    folder(tmp_path, train=rows("b"))
    assert len(keys | {hub(path).fingerprint()}) == 6


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """Catches a KeyError in the middle of a download."""
    with pytest.raises(UserError, match=r"no column 'texts'; did you mean 'text'"):
        list(hub(folder(tmp_path, train=rows("a")), text_column="texts").documents())


def test_an_empty_data_set_is_named(tmp_path: Path) -> None:
    """Catches a corpus in which every row is null."""
    with pytest.raises(UserError, match=r"no documents in dataset"):
        list(hub(folder(tmp_path, train=rows(None, " "))).documents())


def test_a_failing_network_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches forty lines of traceback where the machine is offline."""

    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("cannot reach the hub\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match=r"'some/set': cannot reach the hub .*data=docs.*data=text") as caught:
        list(hub("some/set").documents())
    assert "\n" not in str(caught.value)


def test_settings_that_exclude_one_another_are_refused() -> None:
    """Catches a label that belongs to a line and not to the joined document."""
    with pytest.raises(UserError, match=r"exclude one another"):
        hub("x", label_column="label", rows_per_document=3)


def test_a_mixture_is_its_parts_in_order(tmp_path: Path) -> None:
    """Catches lost parts, lost splits, and a fingerprint that ignores the order."""
    parts = []
    for name, split in (("a", "train"), ("b", "test")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{split}.txt").write_text(f"{name}1\n\n{name}2")
        parts.append({"name": "text", "path": str(tmp_path / name), "text_column": "text"})
    mixture = SOURCES.build({"name": "mixture", "sources": parts})
    assert [(d.text, d.split) for d in mixture.documents()] == [
        ("a1", "train"), ("a2", "train"), ("b1", "test"), ("b2", "test"),
    ]  # fmt: skip
    assert mixture.provided_splits() == {"train", "test"}
    assert mixture.fingerprint() != SOURCES.build({"name": "mixture", "sources": parts[::-1]}).fingerprint()


def test_a_mixture_checks_its_parts() -> None:
    """Catches a typing error inside a list of settings, and an empty list."""
    with pytest.raises(UserError, match=r"did you mean 'text'"):
        SOURCES.build({"name": "mixture", "sources": [{"name": "txt"}]})
    with pytest.raises(UserError, match=r"data\.sources is empty"):
        SOURCES.build({"name": "mixture", "sources": []})


def test_a_broken_expression_is_refused(tmp_path: Path) -> None:
    """Catches a traceback of ``re`` after the download."""
    with pytest.raises(UserError, match=r"data.document_start=\( is not a regular expression"):
        hub(tmp_path, document_start="(")
