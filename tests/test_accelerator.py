"""The accelerator of this machine, where it has one."""

import subprocess
import sys

import pytest
import torch

from tests.accelerator import differences, inputs
from tests.tiny_runs import ROOT


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_differences_are_found(tiny_model, layout, monkeypatch):
    """Catches a check that does not run, or finds nothing, which else only machines with an accelerator would tell."""
    model, other = (tiny_model(max_position_embeddings=70, std=std) for std in (0.1, 0.11))
    batch = inputs()[layout]
    assert differences(model, batch, torch.device("cpu")) == {}
    monkeypatch.setattr(model, "to", lambda device: other)
    assert differences(model, batch, torch.device("cpu")).keys() >= {"loss", "loss in bf16"}


@pytest.mark.slow
def test_every_encoding_and_backend_does_there_what_it_does_on_the_cpu(given_environment):
    """Catches tensors left on the CPU, and kernels that compute something else."""
    command = [sys.executable, "-m", "tests.accelerator"]
    done = subprocess.run(command, cwd=ROOT, env=given_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *different, device = done.stdout.splitlines()
    if device == "cpu":
        pytest.skip("this machine has no accelerator")
    assert different == []
