"""GLUE from files of its format: which columns, which split."""

import json

import pytest

from roformer.data import SOURCES
from roformer.data.sources.glue import GLUE
from roformer.errors import UserError


@pytest.fixture
def root(tmp_path):
    """A folder for each task, every text of which tells task, file, row and column."""
    for name, task in GLUE.items():
        folder = tmp_path / (task.folder or name)
        folder.mkdir(exist_ok=True)
        for file in ("train", task.development, "test"):
            rows = [
                {**{column: f"{folder.name} {file} {n} {column}" for column in task.columns}, "label": n % 2}
                for n in range(3)
            ]
            (folder / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def glue(task, path):
    return SOURCES.build(
        {"name": "glue", "glue_task": task, "path": str(path), "dataset": "nyu-mll/glue", "revision": None}
    )


@pytest.mark.parametrize("name", GLUE)
def test_development_sets_are_tests(root, name):
    """Catches texts of another task or column, secret test labels, and a development set that training sees."""
    source, task = glue(name, root), GLUE[name]
    documents = list(source.documents())
    folder = task.folder or name
    assert source.provided_splits() == {"test"}
    assert [document.split for document in documents] == ["train"] * 3 + ["test"] * 3
    for n, document in enumerate(documents):
        file = "train" if n < 3 else task.development
        assert document.texts == tuple(f"{folder} {file} {n % 3} {column}" for column in task.columns)
        assert document.label == str(n % 3 % 2)


def test_the_test_set_stands_in_for_a_development_set(root):
    """Catches a copy of MRPC with its original two splits that cannot be read."""
    (root / "mrpc" / "validation.jsonl").unlink()
    tests = [document.text for document in glue("mrpc", root).documents() if document.split == "test"]
    assert tests == [f"mrpc test {n} sentence1" for n in range(3)]


def test_names_of_development_sets(root):
    """Catches GLUE's own name for them, and a test set with hidden labels that stands in for one."""
    for task in ("rte", "mnli"):
        development = root / task / f"{GLUE[task].development}.jsonl"
        development.rename(root / task / f"dev{GLUE[task].development.removeprefix('validation')}.jsonl")
        tests = [document.text for document in glue(task, root).documents() if document.split == "test"]
        assert tests == [f"{task} {GLUE[task].development} {n} {GLUE[task].columns[0]}" for n in range(3)]
    (root / "rte" / "dev.jsonl").unlink()
    with pytest.raises(UserError, match=r"no file validation\* or valid\* or val\* or dev\* in its folder rte"):
        glue("rte", root)
    hidden = root / "cola" / "validation.jsonl"
    hidden.write_text(hidden.read_text().replace('"label": 1', '"label": -1'))
    with pytest.raises(UserError, match=r"a file of the test split has hidden labels \(-1\)"):
        list(glue("cola", root).documents())


def test_what_is_missing_is_named(root):
    """Catches a traceback for a task that does not exist, or a file that is not there."""
    with pytest.raises(UserError, match=r"data.glue_task: unknown 'sst-2'; did you mean 'sst2'"):
        glue("sst-2", root)
    (root / "rte" / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"no file train\* in its folder rte"):
        glue("rte", root)
    with pytest.raises(UserError, match="does not exist"):
        glue("cola", root / "nowhere")


def test_the_hub_is_asked_for_the_right_splits(monkeypatch):
    """Catches MNLI's two development sets taken for each other, and test rows whose labels are secret."""
    from datasets import Dataset, DatasetDict

    asked = []

    def load(name, config, *, data_dir, revision, streaming):
        asked.append((name, config, revision))
        rows = {
            split: Dataset.from_dict({"premise": [split], "hypothesis": ["h"], "label": [1]})
            for split in ("train", "validation_matched", "validation_mismatched", "test_matched")
        }
        return DatasetDict(rows)

    monkeypatch.setattr("datasets.load_dataset", load)
    for task in ("mnli", "mnli_mismatched"):
        source = SOURCES.build({"name": "glue", "glue_task": task, "path": None, "dataset": "a/b", "revision": "c"})
        found = [(document.text, document.split) for document in source.documents()]
        assert found == [("train", "train"), (GLUE[task].development, "test")]
    assert asked == [("a/b", "mnli", "c")] * 2
