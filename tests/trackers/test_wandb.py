"""Weights & Biases: online with a key, offline and silent without, and never a reason to stop a run."""

import os
import subprocess
import sys

import pytest

from roformer.trackers import TRACKERS, wandb
from tests.tiny_runs import metrics

NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"WANDB_API_KEY": None, "WANDB_MODE": None, "http_proxy": NOWHERE, "https_proxy": NOWHERE}


@pytest.mark.slow
def test_wandb_works_without_a_key_or_a_network(commands, tiny_runs, tmp_path):
    """Catches a run that waits for a login, fails without one, or talks about it."""
    run = tmp_path / "run"
    overrides = tiny_runs.overrides(f"paths.output_dir={run}", "tracker=wandb")
    command = commands.run("train.py", *overrides, HOME=str(tmp_path), **OFFLINE)
    assert command.status == 0, command.stderr.read_text()
    assert not any("wandb" in line for line in command.lines + command.error_lines if str(tmp_path) not in line)
    (stored,) = run.glob("wandb/offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    assert b"validation_loss" in content
    assert b"hidden_size" in content
    assert metrics(run)[-1]["step"] == 8


START = """
import sys
from pathlib import Path
from accelerate import PartialState
from roformer.trackers import TRACKERS, wandb
PartialState()
wandb._CONNECT_SECONDS = 2
tracker = TRACKERS.build({"name": "wandb", "project": "p"})
tracker.start(Path(sys.argv[1]), run_id="0123", config={"seed": 1})
tracker.log({"a_metric": 0.5}, step=1)
tracker.finish()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "nonsense"])
def test_a_start_that_fails_is_a_line_and_no_more(tmp_path, mode):
    """Catches the library's own service, which holds the id of the run after a failed start."""
    environment = {**os.environ, **OFFLINE, "HOME": str(tmp_path), "WANDB_API_KEY": "0" * 40, "WANDB_MODE": mode}
    environment = {name: value for name, value in environment.items() if value is not None}
    command = [sys.executable, "-c", START, str(tmp_path / "run")]
    (tmp_path / "run").mkdir()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout.startswith("wandb cannot be reached (")
    if mode == "online":
        assert done.stdout.count("\n") == 1
        (stored,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
        assert b"a_metric" in stored.read_bytes()
    else:
        assert "WandB cannot start (" in done.stdout


class FakeWandB:
    """Stands in for Accelerate's tracker: notes how each is started; the first so many starts fail."""

    def __init__(self, failures=0):
        self.failures, self.started, self.stored = failures, [], []

    def __call__(self, project, **settings):
        self.started.append({"project": project, **settings})
        return self

    def start(self):
        if len(self.started) <= self.failures:
            raise OSError("no route\nto host")

    def store_init_configuration(self, settings):
        self.stored.append(settings)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts the tracker with a fake library, in this environment; returns how."""

    def run(fake, **environment):
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(wandb, "WandBTracker", fake)
        tracker = TRACKERS.build({"name": "wandb", "project": "p"})
        tracker.start(tmp_path / "run", run_id="0123", config={"seed": 1})
        return fake.started

    return run


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_wandb_is_online_with_a_key_unless_the_user_says_otherwise(start, environment, mode):
    """Catches curves that never leave the machine, and a user's own choice that is overruled."""
    assert [started["mode"] for started in start(FakeWandB(), **environment)] == [mode]


def test_a_restart_continues_the_same_curves(start, tmp_path):
    """Catches a second run in wandb for each part of one, and files outside the run's folder."""
    fake = FakeWandB()
    (started,) = start(fake)
    expected = {"project": "p", "id": "0123", "resume": "allow", "name": "run", "dir": str(tmp_path / "run")}
    assert expected.items() <= started.items()
    assert fake.stored == [{"seed": 1}]


def test_an_unreachable_wandb_stops_no_run(start, capsys):
    """Catches training that does not begin because a key is wrong or the network is down."""
    fake = FakeWandB(failures=1)
    assert [started["mode"] for started in start(fake, WANDB_API_KEY="k")] == ["online", "offline"]
    assert capsys.readouterr().out == "wandb cannot be reached (no route); its files stay in the run's folder\n"
    assert fake.stored == [{"seed": 1}]


def test_an_error_offline_does_not_end_the_training(start, capsys):
    """Catches a full disk that is reported as a missing network, and one that ends the training."""
    start(FakeWandB(failures=1))
    assert "WandB cannot start (no route); training continues without it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "netrc", "found"),
    [({"WANDB_API_KEY": "k"}, "", True), ({}, "machine api.wandb.ai login user", True), ({}, "machine other", False)],
)
def test_a_key_is_looked_for_where_wandb_keeps_it(monkeypatch, tmp_path, environment, netrc, found):
    """Catches runs that stay offline though the user has logged in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".netrc").write_text(netrc)
    assert wandb.has_key() is found
