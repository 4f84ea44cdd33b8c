"""Losses, gradients, metrics and weights that are not finite numbers."""

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from roformer.errors import UserError
from roformer.io import DIGESTS
from roformer.runs import RunFolder
from roformer.training.callbacks import Callback
from tests.tiny_runs import assert_same_run, metrics

OFTEN = ("trainer.save_steps=2",)


class Poison(Callback):
    """Makes the loss of some batches, or the gradient that it sends back, NaN."""

    def __init__(self, *batches, gradient=False):
        self.batches, self.gradient, self.met, self.hook = batches, gradient, [], None

    def before_step(self, trainer):
        if self.hook:
            self.hook.remove()
            self.hook = None
        if trainer.state.step in self.batches and trainer.state.step not in trainer.state.skipped:
            self.met.append(trainer.state.step)
            model = trainer.unwrapped_model
            if self.gradient:
                self.hook = next(model.parameters()).register_hook(lambda gradient: gradient * math.nan)
            else:
                self.hook = model.register_forward_hook(self.spoil)

    @staticmethod
    def spoil(module, inputs, output):
        output["loss"] = output.loss * math.nan


@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
def test_the_run_stops_before_a_checkpoint_is_lost(tiny_runs, tmp_path, gradient):
    """Catches checkpoints of NaN that push the good ones out, and a message many steps late."""
    run = tmp_path / "run"
    with pytest.raises(UserError) as error:
        tiny_runs.train(run, *OFTEN, callbacks=[Poison(4, gradient=gradient)])
    message = str(error.value)
    culprit = "the gradient of roformer.embeddings" if gradient else "the loss is nan at step 5"
    assert message.startswith(culprit)
    assert "batch 4, rows " in message
    assert f"{run}/checkpoints/step_00000004 is intact" in message
    assert "\n" not in message
    assert all(
        torch.isfinite(w).all() for w in load_file(run / "checkpoints/step_00000004/model.safetensors").values()
    )
    assert [line["step"] for line in metrics(run)] == [1, 2, 3, 4]
    assert RunFolder(run).has_diverged
    tiny_runs.train(run, *OFTEN)  # without the poison, it goes on where it was
    assert not RunFolder(run).has_diverged
    assert_same_run(run, tiny_runs.train(tmp_path / "whole", *OFTEN))


@pytest.mark.parametrize("remedy", ["skip", "restore"])
def test_a_batch_can_be_skipped(tiny_runs, tmp_path, capsys, remedy):
    """Catches a run that ends for one batch, a batch that is met for ever, and a schedule that lags by a step."""
    poison = Poison(5)
    run = tiny_runs.train(tmp_path / "run", *OFTEN, f"trainer.nonfinite={remedy}", callbacks=[poison])
    assert poison.met == [5]
    assert "continuing" in capsys.readouterr().out
    whole = tiny_runs.train(tmp_path / "whole", *OFTEN)
    ours, theirs = metrics(run), metrics(whole)
    assert [line["step"] for line in ours if "loss" not in line] == [6]
    assert ours[:5] == theirs[:5]
    assert ours[-1]["learning_rate"] == theirs[-1]["learning_rate"]
    assert ours[-1]["tokens"] < theirs[-1]["tokens"]
    assert ours[-1]["loss"] != theirs[-1]["loss"]


def test_a_stop_keeps_what_was_skipped(tiny_runs, interrupted, tmp_path):
    """Catches a restart that meets the batch again."""
    skip = (*OFTEN, "trainer.nonfinite=skip")
    whole = tiny_runs.train(tmp_path / "whole", *skip, callbacks=[Poison(1)])
    run = tmp_path / "run"
    with pytest.raises(UserError):
        tiny_runs.train(run, *skip, "trainer.nonfinite_limit=1", callbacks=[Poison(1, 5)])
    assert_same_run(tiny_runs.train(run, *skip), whole)


def test_skipping_has_a_limit(tiny_runs, tmp_path):
    """Catches a diverged run that skips all that is left."""
    with pytest.raises(UserError, match="at step 4 after 2 skipped batches"):
        tiny_runs.train(
            tmp_path / "run", "trainer.nonfinite=skip", "trainer.nonfinite_limit=2", callbacks=[Poison(1, 2, 3)]
        )


def test_a_start_that_is_not_finite_is_blamed(tiny_runs, finished, tmp_path):
    """Catches advice about the learning rate where the weights were NaN from the start."""
    export = shutil.copytree(finished / "export", tmp_path / "export")
    stored = load_file(export / "model.safetensors")
    stored["roformer.embeddings.word_embeddings.weight"][0, 0] = math.inf
    save_file(stored, export / "model.safetensors", metadata={"format": "pt"})
    (export / DIGESTS).unlink()
    with pytest.raises(UserError, match=f"init_from={export}: the weight .* is not finite"):
        tiny_runs.train(tmp_path / "run", f"init_from={export}", task="classification")
