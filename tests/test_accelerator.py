"""The accelerator of this machine, where it has one."""

import subprocess
import sys

import pytest

from tests.workshop import ROOT


def test_every_encoding_and_backend_does_there_what_it_does_on_the_cpu(given_environment):
    """Catches tensors left on the CPU, and kernels that compute something else."""
    command = [sys.executable, "-m", "tests.accelerator"]
    done = subprocess.run(command, cwd=ROOT, env=given_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *different, device = done.stdout.splitlines()
    if device == "cpu":
        pytest.skip("this machine has no accelerator")
    assert different == []
