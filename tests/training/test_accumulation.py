"""One optimizer step is the same however its batch is cut."""

import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.tiny_runs import metrics, weights


@pytest.fixture
def gradient_norms():
    """Norms of all gradients at each optimizer step of the runs that follow."""
    norms = []

    def record(optimizer, *_):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])))

    handle = register_optimizer_step_pre_hook(record)
    yield norms
    handle.remove()


@pytest.mark.parametrize("task", ["mlm", "causal_lm", "classification", "translation"])
def test_accumulation_is_a_larger_batch(tiny_runs, gradient_norms, tmp_path, task):
    """Catches parts divided by their own number of predictions, and gradients that are dropped between parts."""
    free = ["trainer.max_grad_norm=1e9", "trainer.max_steps=5"]  # clipping would hide a factor
    free += {"classification": ["task.classifier_dropout=0"], "translation": ["model.hidden_dropout_prob=0"]}.get(
        task, []
    )
    whole = tiny_runs.train(tmp_path / "whole", *free, task=task)
    norms = gradient_norms.copy()
    gradient_norms.clear()
    parts = tiny_runs.train(tmp_path / "parts", *free, "trainer.gradient_accumulation_steps=4", task=task)
    assert gradient_norms == pytest.approx(norms, rel=1e-4)
    assert len(norms) == 5
    for ours, theirs in zip(metrics(parts), metrics(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, weight in weights(parts).items():
        assert (weight - weights(whole)[name]).abs().max() < 1e-3, name


def test_gradients_are_clipped(tiny_runs, gradient_norms, tmp_path):
    """Catches clipping that comes after the step, or before the gradients of all parts are there."""
    limit, parts = "trainer.max_grad_norm=0.01", "trainer.gradient_accumulation_steps=2"
    tiny_runs.train(tmp_path / "clipped", limit, parts)
    assert gradient_norms == pytest.approx([0.01] * 8, rel=1e-3)


@pytest.mark.slow
def test_loss_falls_far_below_chance(tiny_runs, tmp_path):
    """Catches a loop that does not learn: even a model of this size learns one sentence by heart."""
    rows = tiny_runs.folder / "few"
    rows.mkdir(exist_ok=True)
    for split in ("train", "validation", "test"):
        (rows / f"{split}.txt").write_text("one owl sat by an old oak and two elks ran up the low hill\n")
    steps = ("trainer.max_steps=150", "trainer.eval_steps=50", "trainer.logging_steps=10", "trainer.save_steps=150")
    quick = ("optimizer.learning_rate=1e-2", "model.initializer_range=0.1")
    run = tiny_runs.train(tmp_path / "run", f"data.path={rows}", *steps, *quick)
    losses = [line["loss"] for line in metrics(run)]
    vocabulary = weights(run)["head.decoder.bias"].numel()
    assert losses[0] > 0.7 * math.log(vocabulary)
    assert losses[-1] < 0.3
    assert metrics(run)[-1]["validation_loss"] < 0.3
