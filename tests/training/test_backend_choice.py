"""The attention backend: measured once, written down, and kept to."""

import json

import pytest
import torch
import yaml

from roformer.runtime.choice import Choice
from roformer.training import backend
from tests.tiny_runs import weights

AUTO = "attention=auto"


@pytest.fixture
def measured(monkeypatch):
    """Lets ``blocked`` be so many times as fast as ``sdpa``; returns what was asked for."""
    asked = []

    def gain(value):
        monkeypatch.setattr(backend, "speedup_of_blocked", lambda *question: asked.append(question) or value)
        return asked

    return gain


def recorded(run):
    exported = json.loads((run / "export" / "config.json").read_text())["attention_backend"]
    assert yaml.safe_load((run / "config.yaml").read_text())["attention"] == {"name": exported}
    return exported


@pytest.mark.parametrize(("gain", "chosen"), [(2.5, "blocked"), (1.1, "sdpa"), (0.1, "sdpa")])
def test_the_faster_one_is_recorded(tiny_runs, measured, tmp_path, gain, chosen):
    """Catches ``auto`` in the records, which tells no reader what was done, and the slower one chosen."""
    asked = measured(gain)
    assert recorded(tiny_runs.train(tmp_path / "run", AUTO, "task.sequence_length=48")) == chosen
    assert asked == [(48, 16, 0.0, False, "fp32", "cpu")]


@pytest.mark.parametrize(("first", "then", "chosen"), [(2.5, 0.5, "blocked"), (0.5, 2.5, "sdpa")])
def test_a_resumed_run_keeps_the_recorded_one(tiny_runs, measured, interrupted, tmp_path, first, then, chosen):
    """Catches a second half by another path, whose last digits differ, because the machine was busy."""
    measured(first)
    run = interrupted(tmp_path / "run", 3, AUTO)
    measured(then)
    tiny_runs.train(run, AUTO)
    assert recorded(run) == chosen


def test_what_is_asked_for_is_not_measured(measured):
    """Catches seconds of measuring whose result nobody wants."""
    measured(None)  # comparing it would fail
    choice = backend.choose_backend(
        "eager", length=8, head_size=8, dropout=0.0, causal=False, precision="fp32", device=torch.device("cpu")
    )
    assert choice == Choice("eager", "as configured")


def test_a_measurement_is_the_ratio_of_the_times(monkeypatch):
    """Catches a ratio upside down, and work that is not what is asked about."""
    shapes = []

    def best_seconds(work, **_):
        for run in work.values():
            run()
        return {"sdpa": 3.0, "blocked": 1.0}

    def kernel(self, query, key, value, *, bias, mask, causal):
        shapes.append((type(self).__name__, query.shape, query.dtype, self.dropout.p, causal, self.training))
        return query + key + value, None

    monkeypatch.setattr(backend, "best_seconds", best_seconds)
    for name in ("sdpa", "blocked"):
        monkeypatch.setattr(backend.ATTENTION_BACKENDS[name], "scaled_dot_product", kernel)
    assert backend.speedup_of_blocked.__wrapped__(512, 16, 0.1, True, "bf16", "cpu") == 3.0
    assert shapes == [
        (name, (4, 4, 512, 16), torch.bfloat16, 0.1, True, True) for name in ("SdpaAttention", "BlockedAttention")
    ]


def test_every_backend_trains_to_the_same_weights(tiny_runs, tmp_path):
    """Catches a fast path that does other work: the curves of all backends are one curve."""
    runs = [weights(tiny_runs.train(tmp_path / name, f"attention={name}")) for name in ("eager", "sdpa", "blocked")]
    for run in runs[1:]:
        for key, expected in runs[0].items():
            torch.testing.assert_close(run[key], expected, atol=2e-4, rtol=0)
