"""Run folders that somebody has changed by hand: one line that names the file, and no report."""

import json
import shutil

import pytest
import yaml

from roformer.cli.errors import fault_of_the_machine
from roformer.data.corpus import missing_path
from roformer.errors import UserError
from roformer.evaluation.harness import evaluate
from roformer.evaluation.runs import Run, find_runs
from roformer.io import DIGESTS
from roformer.runs import RunFolder
from tests.tiny_runs import evaluation


@pytest.fixture
def copied(runs, tmp_path):
    """An MLM run, to be damaged."""
    return shutil.copytree(runs[0], tmp_path / "runs" / runs[0].name)


def without(file, key):
    """A JSON or yaml file, less one of its keys."""
    content = yaml.safe_load(file.read_text())
    del content[key]
    file.write_text(json.dumps(content))


def renamed(file):
    content = yaml.safe_load(file.read_text())
    content["position"]["name"] = "sinusoidal"
    file.write_text(yaml.safe_dump(content))


DAMAGE = {
    "no metrics": (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl: No such file"),
    "empty metrics": (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl has no evaluation"),
    "metrics of text": (
        lambda run: (run / "metrics.jsonl").write_text('{"step": 1, "loss": "x"}'),
        "has no evaluation",
    ),
    "no UTF-8": (lambda run: (run / "metrics.jsonl").write_bytes(b"\xff"), "metrics.jsonl has no evaluation"),
    "no provenance": (lambda run: (run / "provenance.json").unlink(), "provenance.json cannot be read"),
    "empty provenance": (lambda run: (run / "provenance.json").write_text(""), "provenance.json cannot be read"),
    "no hardware": (lambda run: without(run / "provenance.json", "hardware"), "it lacks 'hardware'"),
    "no trainer": (lambda run: without(run / "config.yaml", "trainer"), "config.yaml cannot be read"),
    "other position": (lambda run: renamed(run / "config.yaml"), "restore the one that has changed"),
    "no weights": (lambda run: (run / "export" / "model.safetensors").unlink(), "model.safetensors"),
    "cut weights": (
        lambda run: (run / "export" / "model.safetensors").write_bytes(b"x"),
        "model.safetensors has changed",
    ),
    "cut without digests": (
        lambda run: [(run / "export" / DIGESTS).unlink(), (run / "export" / "model.safetensors").write_bytes(b"x")],
        "delete it, then re-run the training command",
    ),
    "no config": (
        lambda run: (run / "export" / "config.json").unlink(),
        "matches no finished run (1 unfinished folders)",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_runs_are_named(copied, name):
    """Catches a traceback of statistics, json or safetensors."""
    change, expected = DAMAGE[name]
    change(copied)
    with pytest.raises((UserError, OSError)) as error:
        evaluate(evaluation([copied]))
    line = str(error.value) if isinstance(error.value, UserError) else fault_of_the_machine(error.value)
    assert expected in line
    assert not (copied.parent / "report" / "index.html").exists()


def test_a_line_that_cannot_be_read_is_skipped(copied):
    """Catches an evaluation that ends because one of many lines was cut."""
    lines = (copied / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copied / "metrics.jsonl").write_text("".join([lines[0], lines[1][:9] + "\n", *lines[2:]]))
    assert len(RunFolder(copied).metrics()) == len(lines) - 1
    assert evaluate(evaluation([copied])).is_file()


def test_a_file_is_no_output_folder(copied, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, or lies below one; give a folder"):
        evaluate(evaluation([copied], output_dir=str(tmp_path / "file" / "results")))


def test_data_are_found_from_elsewhere(tmp_path, monkeypatch):
    """Catches a run on a relative path that can be evaluated in one folder only."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "t.txt").write_text("x")
    run = Run(tmp_path, {"data": {"path": "t.txt"}}, {"working_directory": str(tmp_path / "there")})
    monkeypatch.chdir(tmp_path)
    assert run.data["path"] == str(tmp_path / "there" / "t.txt")
    monkeypatch.chdir(tmp_path / "there")
    assert run.data["path"] == "t.txt"


def test_each_path_of_a_corpus_is_found_from_elsewhere(tmp_path, monkeypatch):
    """Catches a list of files, or a pattern, that an evaluation cannot find, or of which it finds a part."""
    there = tmp_path / "there"
    there.mkdir()
    for name in ("a.txt", "b.jsonl"):
        (there / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path, {"data": {"path": ["a.txt", "*.jsonl"]}}, {"working_directory": str(there)})
    assert run.data["path"] == [str(there / "a.txt"), str(there / "*.jsonl")]
    assert missing_path(run.data) is None
    assert missing_path(run.config["data"]) == "a.txt"
    assert missing_path({"path": [str(there / "a.txt"), "*.csv"]}) == "*.csv"
    assert missing_path({"name": "docs"}) is None


def test_a_folder_with_brackets_is_a_run(copied, tmp_path):
    """Catches a run named after a file "v[2].txt" that no pattern finds."""
    named = copied.rename(copied.parent / "mlm-v[2]-rope")
    (found,), _ = find_runs([str(named)])
    assert found.folder == named
