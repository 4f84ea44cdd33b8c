"""Trackio, without a network: the real library writes to the run's folder."""

import json
import os
import sqlite3

import pytest

from roformer.trackers import TRACKERS
from tests.tiny_runs import metrics

pytest.importorskip("trackio")

NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "TRACKIO_DIR": None, "TRACKIO_SPACE_ID": None}


@pytest.fixture(autouse=True)
def _no_choice_of_the_user(monkeypatch):
    for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def curves(folder):
    """Returns step -> metrics, by run, and the settings of each run."""
    (file,) = folder.glob("*.db")
    with sqlite3.connect(file) as database:
        logged = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = dict(database.execute("select run_name, config from configs").fetchall())
    found = {}
    for name, step, values in logged:
        found.setdefault(name, {})[step] = json.loads(values)
    return found, {name: json.loads(config) for name, config in configs.items()}


def test_a_run_is_tracked_offline_and_in_silence(commands, tiny_runs, tmp_path):
    """Catches a run that waits for a login or a network, files outside its folder, values or steps other than those
    of metrics.jsonl, and advertising on the screen."""
    run, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    overrides = tiny_runs.overrides(f"paths.output_dir={run}", "tracker=trackio")
    command = commands.run("train.py", *overrides, HOME=str(home), HF_HOME=str(home / "hf"), **OFFLINE)
    assert command.status == 0, command.stderr.read_text()
    spoken = [line for line in command.lines + command.error_lines if "trackio" in line.lower()]
    assert not spoken
    found, configs = curves(run / "trackio")
    assert found.keys() == configs.keys() == {"run"}
    assert configs["run"]["model"]["hidden_size"] == 32
    for line in metrics(run):
        assert found["run"][line["step"]].items() >= {k: v for k, v in line.items() if k != "step"}.items()
    assert not [path for path in home.rglob("*") if "trackio" in path.name]


def test_each_run_of_one_process_has_its_own_files(tmp_path):
    """Catches curves of a --multirun that all go to the folder of its first run, and a folder that stays set."""
    for name in ("one", "two"):
        tracker = TRACKERS.build({"name": "trackio", "project": "p"})
        tracker.start(tmp_path / name, run_id=name, config={"seed": 1})
        tracker.log({"loss": 2.5}, step=3)
        tracker.finish()
        found, _ = curves(tmp_path / name / "trackio")
        assert found == {name: {3: {"loss": 2.5}}}
    assert "TRACKIO_DIR" not in os.environ


def test_a_restart_continues_the_same_curves(tmp_path):
    """Catches a second run in trackio for each part of one."""
    for step in (1, 2):
        tracker = TRACKERS.build({"name": "trackio", "project": "p"})
        tracker.start(tmp_path / "run", run_id="0123", config={"seed": 1})
        tracker.log({"loss": 1.0 / step}, step=step)
        tracker.finish()
    found, _ = curves(tmp_path / "run" / "trackio")
    assert found == {"run": {1: {"loss": 1.0}, 2: {"loss": 0.5}}}
