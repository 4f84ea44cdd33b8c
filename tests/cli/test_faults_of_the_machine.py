"""Full disks, closed pipes and little memory: one line, and nothing lost."""

import errno
import io
import os
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError

from roformer.cli.errors import fault_of_the_machine
from roformer.cli.streams import PatientStream
from tests.tiny_runs import ROOT


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x", "a/b"), "cannot read or write a/b: No space left on device; free some space"),
        (PermissionError(errno.EACCES, "x", "a/b"), "a/b: Permission denied; change its permissions"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "No space left on device; free some"),
        (Exception("No space left on device (os error 28)"), "No space left on device; free some"),
        (chained(RuntimeError("x"), OSError(errno.EROFS, "x", "a/b")), "a/b: Read-only file system; choose a folder"),
        (MemoryError(), "out of memory; set trainer.auto_batch=true, or lower"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "out of memory; set trainer.auto_batch=true, or lower",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "raise trainer.gradient_accumulation"),
    ],
)
def test_a_fault_of_the_machine_is_one_line(error, expected):
    """Catches 90 lines of traceback without the word disk, or the setting that needs less memory."""
    line = fault_of_the_machine(error)
    assert expected in line
    assert "\n" not in line


def after(error, handled):
    error.__context__ = handled
    return error


@pytest.mark.parametrize(
    "error",
    [
        after(KeyError("x"), OSError(errno.ENOENT, "x", "a")),
        ValueError("x"),
        KeyError("x"),
        OSError(errno.EBADF, "x"),
        RuntimeError("shape"),
    ],
)
def test_a_bug_keeps_its_traceback(error):
    """Catches a mistake of ours that looks like one of the machine."""
    assert fault_of_the_machine(error) is None


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise OSError(errno.ENOSPC, "full")


def test_a_broken_stream_is_silent():
    """Catches a training that ends because nobody reads its progress any more."""
    stream = PatientStream(Broken())
    assert stream.write("x") == 1
    stream.flush()
    print("y", file=stream)
    assert not stream.isatty()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "closed", "ascii"])
def test_a_run_survives_its_terminal(tiny_runs, tmp_path, kind):
    """Catches a training that ends with `| head`, a full disk under its log, or a terminal without Unicode."""
    run = tmp_path / "数据"
    command = [sys.executable, "train.py", *tiny_runs.overrides(f"paths.output_dir='{run}'")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii" if kind == "ascii" else "utf-8"}
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=full if kind == "full" else subprocess.PIPE, stderr=full
        )
        if kind == "closed":
            process.stdout.close()
        elif kind == "ascii":
            process.stdout.read()
        assert process.wait() == 0
    assert (run / "export" / "config.json").is_file()
