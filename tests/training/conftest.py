"""Tiny runs, in this process and in others."""

import os
import signal

import pytest

from roformer.training.callbacks import Callback


@pytest.fixture(scope="session")
def finished(tiny_runs):
    """A finished run, to be read only."""
    return tiny_runs.train(tiny_runs.folder / "finished")


class BeforeStep(Callback):
    """Does something before a step of that number, from 1."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def before_step(self, trainer):
        if trainer.state.step + 1 == self.step:
            self.action()


@pytest.fixture
def before_step():
    return BeforeStep


@pytest.fixture
def interrupted(tiny_runs):
    """Trains until a signal comes while a step of that number, from 1, is under way; returns the folder."""

    def run(output_dir, steps, *overrides, task="mlm", number=signal.SIGTERM):
        send = BeforeStep(steps, lambda: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as stopped:
            tiny_runs.train(output_dir, *overrides, task=task, callbacks=[send])
        assert stopped.value.code == 128 + number
        return output_dir

    return run
