"""The folder of a run: its status, its lock, and who knows its layout."""

import ast
from pathlib import Path

import pytest
import yaml

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.runs.folder import find_export, run_of_export
from roformer.runs.history import first_difference, read_config

PACKAGE = Path(__file__).parents[2] / "roformer"
OLD_CONFIG = Path(__file__).parents[1] / "fixtures" / "runs_af2503a" / "finished" / "config.yaml"
LAYOUT = {"config.yaml", "provenance.json", "metrics.jsonl", "checkpoints", "best", "export", "diverged", ".lock"}
SETTINGS = """
model: {}
data: {name: text}
optimizer: {name: adamw}
scheduler: {name: linear}
position: {name: rope}
task: {name: mlm}
trainer: {}
attention: {name: sdpa}
"""

ORIGIN = {
    "created": "now", "data_fingerprint": "x", "versions": {}, "hardware": {}, "git_commit": None,
    "initial_weights": None, "resumed": [],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def begin(folder):
    folder.begin(SETTINGS, ORIGIN)


def finish(folder):
    with folder.new_export() as draft:
        (draft / "config.json").write_text("{}")


def test_a_run_is_new_then_begun_then_finished(folder):
    """Catches a status that goes by a folder which a failed start may have left."""
    assert (folder.status, folder.config) == ("new", None)
    folder.checkpoint_dir.mkdir(parents=True)
    assert folder.status == "new"
    begin(folder)
    assert (folder.status, folder.config["task"]) == ("begun", {"name": "mlm"})
    finish(folder)
    assert folder.status == "finished"


def test_parts_are_added_in_their_order(folder):
    """Catches a part that replaces the record of the start or of another part."""
    begin(folder)
    folder.add_part({"git_commit": "a"})
    folder.add_part({"git_commit": "b"})
    assert folder.provenance == {**ORIGIN, "resumed": [{"git_commit": "a"}, {"git_commit": "b"}]}


def test_the_settings_of_an_earlier_stage_are_read_in_todays_terms(folder):
    """Catches a comparison that warns of names as if they were settings."""
    old = yaml.safe_load(OLD_CONFIG.read_text())
    folder.begin(SETTINGS, {**ORIGIN, "initial_weights": {"digest": "x", "config": old}})
    assert folder.provenance["initial_weights"]["config"] == read_config(OLD_CONFIG) != old


def test_one_object_holds_the_lock(folder):
    """Catches two writers, and a lock that is kept after the run."""
    folder.path.mkdir()
    other = RunFolder(folder.path)
    assert folder.lock()
    begin(folder)
    assert not other.lock()
    other.unlock()  # of one that does not hold it
    assert not other.lock()
    folder.unlock()
    assert other.lock()


def test_an_export_is_found_by_its_run_or_by_itself(folder, tmp_path):
    """Catches an export taken for a run, and a run without a model."""
    begin(folder)
    with pytest.raises(UserError, match="has not finished"):
        find_export(str(folder.path))
    finish(folder)
    assert find_export(str(folder.path)) == find_export(str(folder.export)) == folder.export
    assert run_of_export(folder.export).path == folder.path
    bare = folder.export.rename(tmp_path / "bare")
    assert find_export(str(bare)) == bare
    assert run_of_export(bare) is None


def test_the_configuration_of_another_program_is_refused(tmp_path):
    """Catches a traceback about a key."""
    (tmp_path / "config.yaml").write_text("optimizer: sgd\n")
    with pytest.raises(UserError, match=r"is not the configuration of a run of train\.py"):
        read_config(tmp_path / "config.yaml")


def test_the_first_difference_is_named():
    """Catches a difference inside a group, or in a key that only one side has, that goes unnoticed."""
    one = {"seed": 1, "optimizer": {"name": "adamw", "lr": 0.1}}
    assert first_difference(one, {**one, "seed": 2}, but=set()) == ("seed", 1, 2)
    assert first_difference(one, {**one, "optimizer": {"name": "adamw"}}, but=set()) == ("optimizer.lr", 0.1, None)
    assert first_difference(one, {**one, "optimizer": {"name": "muon"}}, but={"optimizer"}) is None
    assert first_difference(one, {"seed": 2, "optimizer": one["optimizer"]}, but={"seed"}) is None


def test_only_one_module_knows_the_layout():
    """Catches a path of a run folder that is spelled outside its class, so that a second place has to know it."""
    owner = PACKAGE / "runs" / "folder.py"
    for file in set(PACKAGE.rglob("*.py")) - {owner}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            path = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and node.right
            assert not (isinstance(path, ast.Constant) and path.value in LAYOUT), f"{file.name}:{node.lineno}"
