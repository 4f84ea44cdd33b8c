"""Freed memory is kept: counted in page faults, and asked for by both entry points."""

import subprocess
import sys

import pytest

from roformer.evaluation import harness
from roformer.training import run as training
from tests.tiny_runs import evaluation

FAULTS = """
import resource, sys, torch
if sys.argv[1] == "kept":
    from roformer.runtime.allocator import disable_malloc_trim
    disable_malloc_trim()
def work():
    for _ in range(5):
        torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = [work() for _ in range(8)]
print(min(after - before for before, after in zip(counts, counts[1:])))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_the_second_time_costs_no_page_faults():
    """Catches options of mallopt that have no effect: five tensors of 48 MB are 58,000 pages of 4 KiB. Now and then
    something small lands where one of them was, and the next takes new pages: the best of several rounds counts."""
    faults = {}
    for how in ("kept", "given back"):
        result = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        faults[how] = int(result.stdout)
    assert faults["kept"] < 1000
    assert faults["given back"] > faults["kept"]


@pytest.mark.slow
def test_training_and_evaluation_ask_for_it(monkeypatch, tmp_path, tiny_runs):
    """Catches an entry point that is measured with it and runs without."""
    asked = []
    for module in (training, harness):
        monkeypatch.setattr(module, "disable_malloc_trim", lambda name=module.__name__: asked.append(name))
    run = tiny_runs.train(tmp_path / "run")
    harness.evaluate(evaluation([run]))
    assert asked == ["roformer.training.run", "roformer.evaluation.harness"]
