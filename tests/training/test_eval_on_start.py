"""``trainer.eval_on_start``: what the initial weights can do, before the first step changes them."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from roformer.sections.learning_speed.measure import LearningSpeed
from roformer.tasks.mlm import MaskedLanguageModeling
from tests.tiny_runs import evaluation, metrics, optimizer_state, weights

START = "trainer.eval_on_start=true"


def assert_same_training(run, other):
    """Equal but for the first line."""
    for read in (weights, optimizer_state):
        torch.testing.assert_close(read(run), read(other), rtol=0, atol=0)
    assert metrics(run)[0]["step"] == 0
    assert metrics(run)[1:] == metrics(other)


def test_the_first_line_is_that_of_the_initial_weights(tiny_runs, finished, tmp_path, capsys):
    """Catches a curve that begins after so many steps, and so never shows where init_from stood."""
    run = tiny_runs.train(tmp_path / "run", f"init_from={finished}", START, "trainer.keep_checkpoints=3")
    first = metrics(run)[0]
    assert (first["step"], first["tokens"]) == (0, 0)
    assert first["validation_loss"] == pytest.approx(metrics(finished)[-1]["validation_loss"], abs=1e-5)
    assert "run  step 0/8  validation_loss" in capsys.readouterr().out
    curve = LearningSpeed(evaluation([run])).evaluate(SimpleNamespace(folder=run))
    assert curve.steps == (0, 4, 8)
    assert curve.seconds[0] == 0 < curve.seconds[1] < curve.seconds[2]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step_00000004", "step_00000008"]


def test_training_is_the_same_with_it(tiny_runs, finished, tmp_path):
    """Catches an evaluation that draws from the generators of the training."""
    assert_same_training(tiny_runs.train(tmp_path / "run", START), finished)


def test_a_signal_meanwhile_loses_nothing(tiny_runs, finished, tmp_path, monkeypatch):
    """Catches a start that cannot be saved, or is not evaluated by the command that goes on."""
    usual, calls = MaskedLanguageModeling.evaluate, []

    def interrupted(self, model, split):
        calls.append(split)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, model, split)

    monkeypatch.setattr(MaskedLanguageModeling, "evaluate", interrupted)
    with pytest.raises(SystemExit):
        tiny_runs.train(tmp_path / "run", START)
    assert not metrics(tmp_path / "run")
    run = tiny_runs.train(tmp_path / "run", START)
    assert_same_training(run, finished)
