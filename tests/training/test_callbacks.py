"""Side effects of training are callbacks: when each hook is called, and what a callback of one's own can do."""

from contextlib import contextmanager

import pytest

from roformer.attention import favor_plus
from roformer.training.callbacks import Callback
from tests.tiny_runs import metrics


class Recorder(Callback):
    """Writes down its calls, with the steps done."""

    def __init__(self):
        self.calls = []

    @contextmanager
    def during(self, trainer):
        self.calls.append("begin")
        try:
            yield
        finally:
            self.calls.append("end")

    def before_step(self, trainer):
        self.calls.append(f"before {trainer.state.step}")

    def on_log(self, trainer, line):
        line["twice_the_step"] = 2 * line["step"]
        self.calls.append(f"log {trainer.state.step}")

    def after_step(self, trainer):
        self.calls.append(f"after {trainer.state.step}")


def test_hooks_are_called_in_their_order(tiny_runs, tmp_path):
    """Catches a hook that is skipped, called twice, or before the step counts, and a line without its additions."""
    recorder = Recorder()
    steps = ("trainer.max_steps=3", "trainer.logging_steps=2", "trainer.eval_steps=3")
    run = tiny_runs.train(tmp_path / "run", *steps, callbacks=[recorder])
    assert recorder.calls == [
        "begin", "before 0", "after 1", "before 1", "log 2", "after 2", "before 2", "log 3", "after 3", "end",
    ]  # fmt: skip
    assert [(line["step"], line["twice_the_step"]) for line in metrics(run)] == [(2, 4), (3, 6)]


def test_callbacks_end_with_a_run_that_fails(tiny_runs, before_step, tmp_path):
    """Catches a tracker or a signal handler that outlives its run, for instance in a sweep."""
    recorder = Recorder()

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tiny_runs.train(tmp_path / "run", callbacks=[recorder, before_step(2, fail)])
    assert recorder.calls[-1] == "end"


def test_features_are_settled_in_the_last_tenth(tiny_runs, tmp_path, monkeypatch):
    """Catches features that are redrawn just before the last step: the weights have not learned with them."""
    monkeypatch.setattr(favor_plus, "_REDRAWN", 1)  # at each step

    class Watch(Callback):
        def __init__(self):
            self.sums = []

        def after_step(self, trainer):
            self.sums.append(trainer.unwrapped_model.roformer.layers[0].backend.projection.sum().item())

    watch = Watch()
    more = ("attention=favor_plus", "trainer.max_steps=20", "trainer.eval_steps=20")
    tiny_runs.train(tmp_path / "run", *more, callbacks=[watch])
    assert len(set(watch.sums[:18])) == 18
    assert set(watch.sums[17:]) == {watch.sums[17]}
