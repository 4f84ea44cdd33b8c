"""The export may be the mean of the last checkpoints."""

import pytest
import torch
from safetensors.torch import load_file

from roformer.errors import UserError
from tests.tiny_runs import weights

OFTEN = ("trainer.save_steps=2", "trainer.keep_checkpoints=3")


def checkpoint(run, step):
    return load_file(run / "checkpoints" / f"step_{step:08}" / "model.safetensors")


def test_export_is_the_mean_of_the_last_checkpoints(tiny_runs, tmp_path):
    """Catches the last state alone, a sum, or a mean over others than the last."""
    run = tiny_runs.train(tmp_path / "run", *OFTEN, "trainer.average_checkpoints=3")
    states = [checkpoint(run, step) for step in (4, 6, 8)]
    for name, weight in weights(run).items():
        torch.testing.assert_close(weight, torch.stack([state[name] for state in states]).mean(0))
        assert not torch.equal(weight, states[-1][name])


def test_fewer_than_asked_for_are_told(tiny_runs, tmp_path, capsys):
    """Catches a mean of one checkpoint that passes for one of five."""
    tiny_runs.train(tmp_path / "few", *OFTEN, "trainer.average_checkpoints=3", "trainer.max_steps=4")
    assert "of trainer.average_checkpoints=3 only 2: lower trainer.save_steps" in capsys.readouterr().out
    tiny_runs.train(tmp_path / "all", *OFTEN, "trainer.average_checkpoints=3")
    assert "of trainer.average_checkpoints" not in capsys.readouterr().out


def test_one_is_the_last_state(tiny_runs, tmp_path):
    """Catches a mean that nobody asked for."""
    run = tiny_runs.train(tmp_path / "run", *OFTEN)
    assert all(torch.equal(weight, checkpoint(run, 8)[name]) for name, weight in weights(run).items())


def test_a_run_that_was_stopped_has_the_same_mean(tiny_runs, interrupted, tmp_path):
    """Catches the checkpoint of an interruption in the mean, or in the place of one of the mean."""
    average = (*OFTEN, "trainer.average_checkpoints=3")
    run = interrupted(tmp_path / "run", 5, *average)
    run = interrupted(run, 7, *average)
    resumed, whole = tiny_runs.train(run, *average), tiny_runs.train(tmp_path / "whole", *average)
    assert sorted(path.name[-1] for path in (run / "checkpoints").iterdir()) == ["4", "6", "8"]
    assert all(torch.equal(weight, weights(whole)[name]) for name, weight in weights(resumed).items())


def test_which_are_averaged_cannot_change_on_the_way(interrupted, tiny_runs, tmp_path):
    """Catches a mean of other states than the settings say."""
    average = ("trainer.keep_checkpoints=3", "trainer.average_checkpoints=3")
    run = interrupted(tmp_path / "run", 5, *average, "trainer.save_steps=2")
    with pytest.raises(UserError, match=r"trainer\.save_steps=2, now it is 1"):
        tiny_runs.train(run, *average, "trainer.save_steps=1")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("trainer.average_checkpoints=3",), "needs as many in trainer.keep_checkpoints, which is 2"),
        (("trainer.average_checkpoints=2", "trainer.early_stopping_patience=1"), "exports the best one"),
        (("trainer.average_checkpoints=0",), "must be at least 1"),
    ],
)
def test_what_cannot_be_averaged(tiny_runs, settings, named):
    """Catches a mean of fewer checkpoints than asked for, and two rules of what is exported."""
    with pytest.raises(UserError, match=named):
        tiny_runs.config("unused", *settings)
