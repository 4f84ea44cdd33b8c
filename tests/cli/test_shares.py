"""How many processes make a sweep, and which run is whose."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from roformer.cli import shares


@pytest.mark.parametrize(
    ("asked", "cores", "accelerator", "runs", "count"),
    [
        (1, 8, False, 9, 1),
        (3, 2, False, 9, 3),
        (3, 2, False, 2, 2),
        ("auto", 2, False, 9, 2),
        ("auto", 64, False, 9, 4),
        ("auto", 64, False, 3, 3),
        ("auto", 64, True, 9, 1),
        ("auto", 2, False, None, 1),
    ],
)
def test_count(monkeypatch, asked, cores, accelerator, runs, count):
    """Catches a process for each of 64 cores, or several on one GPU."""
    monkeypatch.setattr(shares, "_cores", lambda: cores)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    assert shares.processes_for(asked, runs) == count


def test_each_run_is_of_one_share():
    """Catches a run that two processes make, or none."""
    for count in (1, 2, 4):
        owners = [[share for share in range(count) if shares.is_of_share(run, f"{share}/{count}")] for run in range(9)]
        assert all(len(each) == 1 for each in owners)
    assert shares.is_of_share(7, None)


CHILD = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: (print("saved", flush=True), sys.exit(128 + number)))
print("ready", sys.argv[-1], flush=True)
time.sleep(60)
"""


def test_signals_are_passed_on(tmp_path):
    """Catches runs that go on, or that do not save, when the command that started them is told to end."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    parent = f"import sys; sys.argv = [{str(child)!r}]; from roformer.cli.shares import run_in_processes; "
    process = subprocess.Popen(
        [sys.executable, "-c", parent + "sys.exit(run_in_processes(2))"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        ready = sorted(process.stdout.readline() for _ in range(2))
        assert ready == [f"ready hydra.callbacks.progress.share={share}/2\n" for share in range(2)]
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert [process.stdout.readline() for _ in range(2)] == ["saved\n"] * 2
    assert process.returncode == 128 + signal.SIGTERM
