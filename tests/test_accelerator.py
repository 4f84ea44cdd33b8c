"""The accelerator of this machine, where it has one, and bf16."""

import subprocess
import sys

from tests.workshop import ROOT


def test_every_encoding_and_backend_does_there_what_it_does_on_the_cpu(found_environment):
    """Catches tensors left on the CPU, and products in bf16 of what needs float32."""
    command = [sys.executable, "-m", "tests.accelerator"]
    done = subprocess.run(command, cwd=ROOT, env=found_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *different, device = done.stdout.splitlines()
    assert different == []
    assert device in ("cpu", "cuda", "mps", "xpu")
