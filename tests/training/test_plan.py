"""The plan of a run: every choice, with its reason."""

import pytest
import torch

from roformer.runs import RunFolder
from roformer.runtime import precision
from roformer.runtime.choice import Choice, measured_choice
from roformer.training import backend
from roformer.training.plan import RunPlan

CPU = torch.device("cpu")
AUTO = ("trainer.precision=auto", "trainer.compile=auto", "attention=auto")


@pytest.mark.parametrize(
    ("asked", "speedup", "choice"),
    [
        ("bf16", None, Choice("bf16", "as configured")),
        ("auto", 2.24, Choice("bf16", "auto: 2.2x faster than fp32")),
        ("auto", 1.1, Choice("fp32", "auto: bf16 is only 1.1x as fast")),
    ],
)
def test_a_measurement_decides_between_two_only_if_asked(asked, speedup, choice):
    """Catches the slower one chosen, a choice without its reason, and seconds of measuring that nobody wants."""
    assert measured_choice(asked, "fp32", "bf16", lambda: speedup * 1.0) == choice


def test_each_choice_has_its_reason(tiny_runs, monkeypatch, tmp_path):
    """Catches a line on the screen that does not say why a setting has its value."""
    monkeypatch.setattr(precision, "speedup_of_bf16", lambda *_: 2.0)
    monkeypatch.setattr(backend, "speedup_of_blocked", lambda *_: 0.5)
    plan = RunPlan.resolve(tiny_runs.config(tmp_path / "run", *AUTO), RunFolder(tmp_path / "run"), CPU)
    assert plan.table().splitlines() == [
        "precision      bf16      auto: 2.0x faster than fp32",
        "compile        off       auto: a CPU gains little from it",
        "attention      sdpa      auto: blocked is only 0.5x as fast",
        "learning rate  0.001     as configured",
    ]
    assert (plan.config.trainer.precision, plan.config.attention["name"]) == ("bf16", "sdpa")


def test_a_begun_run_keeps_its_choices(tiny_runs, finished):
    """Catches a second part that measures anew."""
    plan = RunPlan.resolve(tiny_runs.config(finished, *AUTO), RunFolder(finished), CPU)
    assert plan.precision == Choice("fp32", "as the run began")
    assert plan.backend == Choice("sdpa", "as the run began")
