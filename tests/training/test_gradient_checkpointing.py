"""Layers that are computed again in the backward pass: less memory, the same run."""

import pytest

from roformer.attention import AttentionBackend
from tests.tiny_runs import assert_same_run


@pytest.mark.parametrize(("task", "precision"), [("mlm", "fp32"), ("mlm", "bf16"), ("classification", "fp32")])
def test_same_run_with_twice_the_forward_passes(tiny_runs, monkeypatch, tmp_path, task, precision):
    """Catches a setting that is stored and ignored, and dropout that differs when a layer is computed again."""
    settings = ("model.hidden_dropout_prob=0.2", "model.attention_probs_dropout_prob=0.2")
    settings += (f"trainer.precision={precision}",)
    calls, forward = [], AttentionBackend.forward

    def counted(self, *arguments, **named):
        calls[-1] += self.training
        return forward(self, *arguments, **named)

    monkeypatch.setattr(AttentionBackend, "forward", counted)
    runs = []
    for setting in ("false", "true"):
        calls.append(0)
        runs.append(
            tiny_runs.train(tmp_path / setting, *settings, f"trainer.gradient_checkpointing={setting}", task=task)
        )
    assert calls[1] == 2 * calls[0] > 0
    assert_same_run(*runs)
