"""Tiny runs, in this process and in others."""

import os
import signal

import pytest

from roformer.training.trainer import Trainer
from tests.commands import Commands
from tests.workshop import Workshop


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.getbasetemp() / "workshop")


@pytest.fixture(scope="session")
def finished(workshop):
    """A finished run, to be read only."""
    return workshop.train(workshop.folder / "finished")


@pytest.fixture
def interrupted(workshop):
    """Trains until a signal comes while a step of that number, from 1, is under way; returns the folder."""

    def run(output_dir, steps, *overrides, task="mlm", number=signal.SIGTERM):
        train_step = Trainer._train_step

        def signalled(self, step, *prepared):
            if step + 1 == steps:
                os.kill(os.getpid(), number)
            return train_step(self, step, *prepared)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "_train_step", signalled)
            with pytest.raises(SystemExit) as stopped:
                workshop.train(output_dir, *overrides, task=task)
        assert stopped.value.code == 128 + number
        return output_dir

    return run
