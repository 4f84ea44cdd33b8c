"""SIGKILL at random moments, fifty times for each kind of run; and each time the same command again."""

import random
import shutil
import signal
import time

import pytest

from tests.tiny_runs import assert_same_run

pytestmark = pytest.mark.long

KILLS = 50
LONG = ("trainer.max_steps=60", "trainer.save_steps=5", "trainer.eval_steps=10", "trainer.logging_steps=3")
KINDS = {
    "mlm": ("mlm", ()),
    "accumulation": ("mlm", ("trainer.gradient_accumulation_steps=2", "tracker=tensorboard")),
    "classification": ("classification", ("trainer.early_stopping_patience=20",)),
    "causal_lm": ("causal_lm", ("optimizer=muon",)),
    "translation": ("translation", ("trainer.average_checkpoints=3", "trainer.keep_checkpoints=3")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_runs_end_like_others(commands, tiny_runs, tmp_path, record, kind):
    """Catches any moment at which a killed process leaves something that the next start takes for whole."""
    task, chosen = KINDS[kind]
    whole = tiny_runs.train(tmp_path / "whole", *LONG, *chosen, task=task)
    run, cache, rng = tmp_path / "run", tmp_path / "cache", random.Random(0)
    folders = (f"paths.output_dir={run}", f"paths.cache_dir={cache}")
    command = ("train.py", *tiny_runs.overrides(*LONG, *chosen, *folders, task=task))
    kills = finished = 0
    while kills < KILLS or not finished:
        started = commands.start(*command)
        if kills < KILLS:
            time.sleep(rng.uniform(0.1, 1.5))
            started.send(signal.SIGKILL)
        status = started.wait().status
        if status == -signal.SIGKILL:
            kills += 1
            continue
        assert status == 0, started.stderr.read_text()
        assert_same_run(run, whole)
        finished += 1
        shutil.rmtree(run)
        shutil.rmtree(cache)
    record(f"SIGKILL, {kind}", kills=kills, finished_runs=finished, lost=0)
