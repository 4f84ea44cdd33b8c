"""metrics.jsonl and the lines on the screen."""

import time

import pytest
import torch

from roformer.runs.metrics import append_metrics, check_metrics, read_metrics
from roformer.tasks.mlm import MaskedLanguageModeling
from roformer.training.callbacks import Callback
from roformer.training.meter import ThroughputMeter
from tests.tiny_runs import metrics

SPARSE = ("trainer.max_steps=10", "trainer.logging_steps=3", "trainer.eval_steps=5")
ALWAYS = {"step", "loss", "learning_rate", "tokens", "tokens_per_second", "data_wait"}


def lines(run):
    return read_metrics(run / "metrics.jsonl")


@pytest.mark.parametrize("task", ["mlm", "classification"])
def test_each_line_has_all_numbers_and_steps_rise(tiny_runs, interrupted, tmp_path, task):
    """Catches a key that only some lines have, and steps that stand there twice or out of order after a restart."""
    run = interrupted(tmp_path / "run", 4, *SPARSE, task=task)
    tiny_runs.train(run, *SPARSE, task=task)
    assert [line["step"] for line in lines(run)] == [3, 5, 6, 9, 10]
    assert all(set(line) >= ALWAYS for line in lines(run))
    assert all(type(value) in (int, float) for line in lines(run) for value in line.values())
    evaluated = {line["step"] for line in lines(run) if "validation_loss" in line}
    assert evaluated == {5, 10}
    tokens = [line["tokens"] for line in lines(run)]
    assert tokens == sorted(set(tokens))


def test_tokens_add_up_over_a_restart(tiny_runs, interrupted, tmp_path):
    """Catches a count that begins at 0 again, which would move the curve of a resumed run."""
    whole = tiny_runs.train(tmp_path / "whole", *SPARSE)
    run = interrupted(tmp_path / "run", 4, *SPARSE)
    tiny_runs.train(run, *SPARSE)
    assert [line["tokens"] for line in metrics(run)] == [line["tokens"] for line in metrics(whole)]


def test_a_line_is_the_mean_since_the_last(tiny_runs, tmp_path):
    """Catches the loss of the last step alone, which is noise, in place of the mean."""
    each, every_fourth = (tiny_runs.train(tmp_path / str(n), f"trainer.logging_steps={n}") for n in (1, 4))
    losses = [line["loss"] for line in metrics(each)]
    means = [sum(losses[:4]) / 4, sum(losses[4:]) / 4]
    assert [line["loss"] for line in metrics(every_fourth)] == pytest.approx(means, rel=1e-5)


def test_speed_leaves_out_pauses(monkeypatch):
    """Catches a speed that depends on how often a run is evaluated or saved."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = ThroughputMeter()
    for loss in (1.0, 2.0):
        with meter.waiting():
            now[0] += 0.5
        now[0] += 1.5
        meter.update(torch.tensor(loss), 100)
        with meter.paused():
            now[0] += 50.0
    assert meter.report() == {"loss": 1.5, "tokens_per_second": 50.0, "data_wait": 0.25}
    meter.restart()
    now[0] += 1.0
    meter.update(torch.tensor(7.0), 10)
    assert meter.report() == {"loss": 7.0, "tokens_per_second": 10.0, "data_wait": 0.0}


def test_a_step_that_is_done_again_replaces_its_line(tmp_path):
    """Catches two lines of one step, a line lost with the one that a crash cut short, and a file that is rewritten."""
    file = tmp_path / "metrics.jsonl"
    file.write_text(before := '{"step": 1, "loss": 9}\n{"step": 2, "loss": 8}\n{"step": 3, "lo')
    append_metrics(file, {"step": 2, "loss": 7})
    append_metrics(file, {"step": 4, "loss": 6})
    assert read_metrics(file) == [{"step": 1, "loss": 9}, {"step": 2, "loss": 7}, {"step": 4, "loss": 6}]
    assert file.read_text().startswith(before)
    assert check_metrics(file, [1, 2, 4]) is None
    assert "no readable line of 1 logged steps (3)" in check_metrics(file, [1, 2, 3, 4])


@pytest.mark.parametrize("broken", [b"\xff\n", b"[1]\n", b'{"loss": 1}\n', b'{"step": "2"}\n', b"\0\0\n", b"\n"])
def test_lines_that_cannot_be_read_are_skipped(tmp_path, broken):
    """Catches one broken line that hides all that follow, or ends an evaluation in a traceback."""
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + broken + b'{"step": 3}\n')
    assert [line["step"] for line in read_metrics(file)] == [1, 3]


def test_evaluations_are_told_without_a_terminal(tiny_runs, tmp_path, capsys):
    """Catches a log file without a word on how training goes, and one full of progress bars."""
    tiny_runs.train(tmp_path / "some-run", *SPARSE)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("some-run ")]
    assert [line.split()[2] for line in told] == ["5/10", "10/10"]
    assert all("validation_loss" in line and "tokens/s" in line for line in told)


def test_batches_are_made_ahead(tiny_runs, tmp_path, monkeypatch):
    """Catches a loop that makes each batch only when it needs it, and so waits for it."""
    order, batch = [], MaskedLanguageModeling.batch

    class Watch(Callback):
        def before_step(self, trainer):
            number, deadline = trainer.state.step, time.monotonic() + 30
            while number < 2 and f"made {number + 1}" not in order and time.monotonic() < deadline:
                time.sleep(0.001)  # the next batch is made without waiting for the end of this step
            order.append(f"trained {number}")

    def made(self, number, *size, **share):
        result = batch(self, number, *size, **share)
        order.append(f"made {number}")
        return result

    monkeypatch.setattr(MaskedLanguageModeling, "batch", made)
    tiny_runs.train(tmp_path / "run", "trainer.max_steps=3", "trainer.eval_steps=3", callbacks=[Watch()])
    assert order == ["made 0", "made 1", "trained 0", "made 2", "trained 1", "trained 2"]
