"""Processes that are told to stop, or killed, in the middle of training."""

import signal

import pytest

from tests.commands import wait_for_steps
from tests.tiny_runs import assert_same_run, metrics

pytestmark = pytest.mark.slow

LONG = ("trainer.max_steps=300", "trainer.eval_steps=100", "trainer.save_steps=5", "model.hidden_dropout_prob=0.1")


@pytest.fixture(scope="module")
def uninterrupted(tiny_runs):
    """The run of all tests here, in one go; to be read only."""
    return tiny_runs.train(tiny_runs.folder / "long", *LONG)


@pytest.fixture
def command_line(tiny_runs, tmp_path):
    return ["train.py", *tiny_runs.overrides(f"paths.output_dir={tmp_path / 'run'}", *LONG)]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_same_command_goes_on(commands, command_line, uninterrupted, tmp_path, number, status):
    """Catches a stop that loses steps, ends in a traceback or with status 0, and a command that begins anew."""
    run = tmp_path / "run"
    command = (commands.start_fresh if number == signal.SIGINT else commands.start)(*command_line)
    wait_for_steps(run)
    command.send(number)
    stopped = command.wait()
    assert stopped.status == status
    assert stopped.error_lines == []
    step = metrics(run)[-1]["step"]
    assert step < 300
    assert stopped.lines[-1] == (
        f"stopped at step {step} of 300, saved in {run / 'checkpoints'}; re-run the same command to resume"
    )
    assert (run / "checkpoints" / f"step_{step:08}").is_dir()
    again = commands.run(*command_line)
    assert again.status == 0
    assert f"resuming from {run / 'checkpoints' / f'step_{step:08}'}" in again.lines
    assert_same_run(run, uninterrupted)


def test_a_run_has_one_writer_and_survives_its_death(commands, command_line, tiny_runs, uninterrupted, tmp_path):
    """Catches two processes that write to one folder, and a lock or a half-written file that outlives its process."""
    run = tmp_path / "run"
    first = commands.start(*command_line)
    wait_for_steps(run, checkpoints=1)
    first.send(signal.SIGSTOP)
    second = commands.run(*command_line)
    assert (second.status, second.lines[1:]) == (1, [])
    assert second.error_lines == [f"error: another process is training in {run}; wait for it or stop it"]
    first.send(signal.SIGKILL)
    assert first.wait().status == -signal.SIGKILL
    assert not (run / "export").exists()
    assert_same_run(tiny_runs.train(run, *LONG), uninterrupted)
