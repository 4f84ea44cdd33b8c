"""Trackers beside metrics.jsonl."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from roformer import extras
from roformer.errors import UserError
from roformer.training import tracking
from tests.workshop import metrics

NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"WANDB_API_KEY": None, "WANDB_MODE": None, "http_proxy": NOWHERE, "https_proxy": NOWHERE}


def test_wandb_works_without_a_key_or_a_network(commands, workshop, tmp_path):
    """Catches a run that waits for a login, fails without one, or talks about it."""
    run = tmp_path / "run"
    overrides = workshop.overrides(f"paths.output_dir={run}", "tracker=wandb")
    command = commands.run("train.py", *overrides, HOME=str(tmp_path), **OFFLINE)
    assert command.status == 0, command.stderr.read_text()
    assert not any("wandb" in line for line in command.lines + command.error_lines if str(tmp_path) not in line)
    (stored,) = run.glob("wandb/offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    assert b"validation_loss" in content
    assert b"hidden_size" in content
    assert metrics(run)[-1]["step"] == 8


class FakeAccelerator:
    """Notes how wandb is started; the first so many starts fail."""

    def __init__(self, failures=0):
        self.failures, self.started = failures, []

    def init_trackers(self, project, config, init_kwargs):
        self.started.append(dict(init_kwargs["wandb"]))
        if len(self.started) <= self.failures:
            raise OSError("no route\nto host")

    def print(self, line):
        self.said = line


@pytest.fixture
def start(workshop, finished, monkeypatch):
    """What ``start_tracker`` asks of wandb for a run, in this environment."""

    def run(accelerator, **environment):
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(workshop.folder))
        tracking.start_tracker(accelerator, workshop.config(finished, "tracker=wandb"))
        return accelerator.started

    return run


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_wandb_is_online_with_a_key_unless_told_otherwise(start, environment, mode):
    """Catches curves that never leave the machine, and a user's own choice that is overruled."""
    assert [started["mode"] for started in start(FakeAccelerator(), **environment)] == [mode]


def test_a_restart_goes_on_with_the_same_curves(start):
    """Catches a second run in wandb for each part of one."""
    (first,), (second,) = start(FakeAccelerator()), start(FakeAccelerator())
    assert first["id"] == second["id"]
    assert len(first["id"]) == 16
    assert first["resume"] == "allow"


def test_an_unreachable_wandb_stops_no_run(start):
    """Catches training that does not begin because a key is wrong or the network is down."""
    accelerator = FakeAccelerator(failures=1)
    assert [started["mode"] for started in start(accelerator, WANDB_API_KEY="k")] == ["online", "offline"]
    assert accelerator.said == "wandb is not to be reached (no route); its files stay in the run's folder"


def test_tensorboard_gets_every_number(workshop, tmp_path):
    """Catches curves with other values or steps than metrics.jsonl."""
    run = workshop.train(tmp_path / "run", "tracker=tensorboard")
    events = min(run.rglob("events.out.tfevents.*"), key=lambda file: len(file.parts))  # those below hold the settings
    curves = EventAccumulator(str(events.parent)).Reload()
    for key in ("loss", "learning_rate", "validation_loss"):
        expected = {line["step"]: line[key] for line in metrics(run) if key in line}
        assert {event.step: event.value for event in curves.Scalars(key)} == pytest.approx(expected)


def test_none_leaves_no_trace(finished):
    """Catches a tracker that cannot be turned off."""
    assert {path.name for path in finished.iterdir()} == {
        ".lock", "checkpoints", "config.yaml", "export", "metrics.jsonl", "provenance.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wanbd", "tracker.name: unknown 'wanbd' (available: wandb, tensorboard, none)"),
        (
            "tensorboard",
            "tracker=tensorboard needs the package tensorboard: pip install 'roformer-lab[tracking]', or choose "
            "tracker=none",
        ),
    ],
)
def test_trackers_that_are_not_there_are_named(workshop, monkeypatch, tmp_path, name, message):
    """Catches an ImportError after the data has been prepared."""
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(UserError) as error:
        workshop.train(tmp_path / "run", f"tracker.name={name}")
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


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
    assert tracking._wandb_key() is found
