"""One folder, one run: what may be done to it again, and what is refused in a line."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from filelock import FileLock

from roformer.errors import UserError
from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.io import atomic_folder
from roformer.runs import RunFolder
from tests.tiny_runs import metrics


@pytest.fixture
def half(interrupted, tmp_path):
    """A run that was stopped in its fifth step."""
    return interrupted(tmp_path / "run", 5)


def contents(folder):
    return {
        file.relative_to(folder): (file.stat().st_mtime_ns, file.read_bytes())
        for file in folder.rglob("*")
        if file.is_file()
    }


def refusal(tiny_runs, run, *overrides):
    with pytest.raises(UserError) as error:
        tiny_runs.train(run, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_finished_run_is_left_alone(tiny_runs, finished, monkeypatch, capsys):
    """Catches a second start that trains on, or prepares the data for minutes to find that there is nothing to do."""
    before = contents(finished)
    for name in ("run.build_task", "plan.Corpus"):  # whose data may be gone by now
        monkeypatch.setattr(f"roformer.training.{name}", None)  # calling it would fail
    tiny_runs.train(finished)
    assert contents(finished) == before
    assert f"{finished} already finished; delete it to retrain" in capsys.readouterr().out


def test_a_start_that_fails_leaves_no_folder(tiny_runs, tmp_path):
    """Catches empty folders that look like runs, one for each typing error; a folder in use is another matter."""
    for mistake in ("data.path=no/such/place", "data.validation_fraction=0"):  # before and after the folder is made
        with pytest.raises(UserError):
            tiny_runs.train(tmp_path / "run", mistake)
        assert not (tmp_path / "run").exists()
    (tmp_path / "used").mkdir()
    with FileLock(tmp_path / "used" / ".lock"), pytest.raises(UserError, match="another process is training"):
        tiny_runs.train(tmp_path / "used", "data.validation_fraction=0")
    assert (tmp_path / "used" / ".lock").exists()


def test_each_part_of_a_run_is_recorded(tiny_runs, half):
    """Catches a run that says it was made by one version, when the second half was made by another."""
    tiny_runs.train(half)
    record = json.loads((half / "provenance.json").read_text())
    assert [part["hardware"]["threads"] for part in (record, *record["resumed"])] == [1, 1]


@pytest.mark.parametrize(
    ("override", "key", "old", "new"),
    [
        ("optimizer.learning_rate=0.5", "optimizer.learning_rate", "0.001", "0.5"),
        ("position=learned", "position", None, None),
        ("trainer.max_steps=9", "trainer.max_steps", "8", "9"),
        ("seed=2", "seed", "1", "2"),
        ("trainer.precision=bf16", "trainer.precision", "fp32", "bf16"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(tiny_runs, half, override, key, old, new):
    """Catches a run whose two halves were trained in different ways."""
    before = contents(half)
    message = refusal(tiny_runs, half, override)
    assert message.startswith(f"{half} holds a run with {key}")
    assert old is None or f"{key}={old}, now it is {new}; set it back, choose another paths.output_dir" in message
    assert contents(half) == before


def test_what_changes_no_result_may_change(tiny_runs, half):
    """Catches a run that cannot go on because checkpoints are kept or watched in another way."""
    tiny_runs.train(half, "trainer.save_steps=3", "trainer.keep_checkpoints=1", "tracker=tensorboard")
    assert (half / "export").is_dir()
    assert [folder.name for folder in (half / "checkpoints").glob("step_*")] == ["step_00000008"]


def test_a_folder_has_one_writer(tiny_runs, half):
    """Catches two processes that write the same checkpoints in turn."""
    with FileLock(half / ".lock"):
        assert refusal(tiny_runs, half) == f"another process is training in {half}; wait for it or stop it"
    tiny_runs.train(half)


@pytest.fixture
def changing(tiny_runs, tmp_path):
    """A corpus of its own, to be changed in the middle of a run."""
    texts = tmp_path / "text"
    texts.mkdir()
    for file in sorted(tiny_runs.text.iterdir()):
        (texts / file.name).write_text(file.read_text())
    return texts


def test_changed_documents_are_noticed(tiny_runs, changing, interrupted, tmp_path):
    """Catches a run that goes on with other data than it began with, in another order."""
    overrides = (f"data.path={changing}",)
    run = interrupted(tmp_path / "run", 5, *overrides)
    (changing / "00.txt").write_text((changing / "01.txt").read_text())
    assert refusal(tiny_runs, run, *overrides) == (
        f"the data, or the version of roformer, has changed since {run} was begun; restore them, or choose "
        "another paths.output_dir"
    )
    assert metrics(run)[-1]["step"] == 5


def test_changed_documents_with_other_words_are_noticed(tiny_runs, changing, interrupted, tmp_path):
    """Catches a traceback about sizes of tensors: new words make another vocabulary."""
    overrides = (f"data.path={changing}",)
    run = interrupted(tmp_path / "run", 5, *overrides)
    for number in range(8):  # enough for some to be training text
        words = " ".join(f"{a}{b}x {b}{a}z" for a in "bcdfgh" for b in "aeiou")
        (changing / f"new{number}.txt").write_text(f"{words} {number}")
    assert "has changed since" in refusal(tiny_runs, run, *overrides)


def test_settings_and_origin_are_recorded(finished):
    """Catches a result that nobody can trace to its settings, code, data and machine."""
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert (config["seed"], config["task"]["sequence_length"], config["model"]["hidden_size"]) == (1, 32, 32)
    origin = json.loads((finished / "provenance.json").read_text())
    assert set(origin) == {
        "created", "git_commit", "command", "versions", "hardware", "data_fingerprint", "data_warnings",
        "working_directory", "initial_weights", "learning_rate_grid", "resumed",
    }  # fmt: skip
    assert (origin["initial_weights"], origin["learning_rate_grid"], origin["resumed"]) == (None, None, [])
    assert origin["git_commit"] is None or re.fullmatch(r"[0-9a-f]{12}(\+changes)?", origin["git_commit"])
    assert {"python", "torch", "transformers"} <= set(origin["versions"])
    assert origin["hardware"]["cores"] >= 1


def test_runs_of_before_a_setting_are_still_runs(tiny_runs, finished, tmp_path, capsys):
    """Catches runs that a newer version refuses because it has settings that they did not know."""
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    config = yaml.safe_load((old / "config.yaml").read_text())
    assert config["position"].keys() == {"name", "rope_theta", "layout", "partial_rotary_factor", "frequency_band"}
    config["position"] = {"name": "rope", "base": 10000.0, "layout": "interleaved", "partial_factor": 1.0}
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    tiny_runs.train(old)
    assert f"{old} already finished" in capsys.readouterr().out
    (run,), _ = find_runs([str(old)])
    assert load_run(run).config["position"]["frequency_band"] == "all"


def test_newest_checkpoints_are_kept(tiny_runs, tmp_path):
    """Catches a disk that fills up, and the oldest kept in place of the newest."""
    often = ("trainer.max_steps=12", "trainer.save_steps=2", "trainer.keep_checkpoints=3")
    run = tiny_runs.train(tmp_path / "run", *often)
    names = sorted(folder.name for folder in (run / "checkpoints").iterdir())
    assert names == ["step_00000008", "step_00000010", "step_00000012"]


def test_the_newest_is_the_one_with_most_steps(tmp_path):
    """Catches an order by name that puts step 1000 before step 999, and one by time that a copy upsets."""
    folder = RunFolder(tmp_path)
    for step in (1000, 999, 20):
        with folder.new_checkpoint(step) as draft:
            (draft / "state").write_text("")
    assert list(folder.checkpoints) == [20, 999, 1000]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    """Catches a failed save that takes the last good one with it, and a leftover that mixes with the next."""
    folder = tmp_path / "best"

    def write(name, error=None):
        with atomic_folder(folder) as draft:
            (draft / name).write_text("")
            if error:
                raise error

    write("a")
    with pytest.raises(OSError, match="no space"):
        write("b", OSError("no space left on device"))
    assert sorted(file.name for file in folder.iterdir()) == ["SHA256SUMS", "a"]
    (tmp_path / ".best.draft-killed").mkdir()
    write("c")
    assert sorted(file.name for file in folder.iterdir()) == ["SHA256SUMS", "c"]
    assert list(tmp_path.iterdir()) == [folder]


def test_colleagues_can_read_a_run(tiny_runs, tmp_path):
    """Catches weights that a library writes for their owner alone, next to a configuration that all can read."""
    before = os.umask(0o022)
    try:
        run = tiny_runs.train(tmp_path / "run")
    finally:
        os.umask(before)
    kept = [path for name in ("export", "checkpoints") for path in (run / name).rglob("*") if path.is_file()]
    assert len(kept) > 8
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o644}


def test_digests_are_those_of_sha256sum(finished):
    """Catches a format that only we can check."""
    for folder in (finished / "export", *(finished / "checkpoints").iterdir()):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_a_place_that_cannot_be_written_is_named(tiny_runs, tmp_path):
    """Catches a traceback, or a mistake found after the training, where the results should go."""
    (tmp_path / "file").write_text("")
    run = tmp_path / "file" / "run"
    assert refusal(tiny_runs, run).startswith(f"cannot write to paths.output_dir={run}: ")
