"""bf16 or float32: measured once, written down, and kept to."""

from itertools import accumulate, chain
from types import SimpleNamespace

import pytest
import torch
import yaml

from roformer.runtime import precision, timing
from roformer.tasks import language_modeling
from tests.tiny_runs import metrics, weights

AUTO = "trainer.precision=auto"


@pytest.fixture
def measured(monkeypatch):
    """Lets bf16 be so many times as fast as float32."""
    return lambda gain: monkeypatch.setattr(precision, "speedup_of_bf16", lambda hidden_size, device: gain)


def recorded(run):
    return yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"]


@pytest.mark.parametrize(("gain", "chosen"), [(2.5, "bf16"), (1.0, "fp32"), (0.1, "fp32")])
def test_the_faster_one_is_recorded(tiny_runs, measured, tmp_path, gain, chosen):
    """Catches ``auto`` in the records, which tells no reader what was done, and the slower one chosen."""
    measured(gain)
    assert recorded(tiny_runs.train(tmp_path / "run", AUTO)) == chosen


@pytest.mark.parametrize(("first", "then", "chosen"), [(2.5, 0.5, "bf16"), (0.5, 2.5, "fp32")])
def test_a_resumed_run_keeps_the_recorded_one(tiny_runs, measured, interrupted, tmp_path, first, then, chosen):
    """Catches a second half in another precision, because the machine was busy with something else."""
    measured(first)
    run = interrupted(tmp_path / "run", 3, AUTO)
    measured(then)
    tiny_runs.train(run, AUTO)
    assert recorded(run) == chosen


def test_bf16_computes_in_bf16_and_keeps_float32_weights(tiny_runs, tmp_path):
    """Catches a precision that is recorded but not used, and weights that are rounded."""
    half = tiny_runs.train(tmp_path / "half", "trainer.precision=bf16")
    full = tiny_runs.train(tmp_path / "full")
    losses = [[line["loss"] for line in metrics(run)] for run in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert {weight.dtype for weight in weights(half).values()} == {torch.float32}


def test_logits_stay_in_bf16(tiny_runs, tmp_path, monkeypatch):
    """Catches a float32 copy of all logits between the model and who scores them in parts."""
    seen, token_losses = set(), language_modeling.token_losses
    monkeypatch.setattr(
        language_modeling,
        "token_losses",
        lambda logits, labels: seen.add(logits.dtype) or token_losses(logits, labels),
    )
    tiny_runs.train(tmp_path / "run", "trainer.precision=bf16")
    assert seen == {torch.bfloat16}


def test_what_is_asked_for_is_not_measured(measured):
    """Catches seconds of measuring whose result nobody wants."""
    measured(None)  # comparing it would fail
    for asked in ("fp32", "bf16"):
        assert precision.choose_precision(asked, hidden_size=8, device=torch.device("cpu")).value == asked


def test_a_measurement_is_the_ratio_of_the_best_times(monkeypatch):
    """Catches a ratio upside down."""
    monkeypatch.setattr(precision, "best_seconds", lambda work, **_: {"fp32": 3.0, "bf16": 1.0})
    assert precision.speedup_of_bf16.__wrapped__(16, "cpu") == 3.0


def test_one_slow_moment_does_not_decide(monkeypatch):
    """Catches a mean, or the last repeat, in place of the least."""
    durations = iter([5.0, 2.0, 3.0, 1.0, 90.0, 50.0])  # in turn
    clock = accumulate(chain.from_iterable((1.0, next(durations)) for _ in range(6)))
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    work = {"first": lambda: None, "second": lambda: None}
    assert timing.best_seconds(work, repeats=3, device=torch.device("cpu")) == {"first": 3.0, "second": 1.0}
