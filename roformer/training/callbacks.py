"""The side effects of training, one class each: evaluation, early stopping, logs, trackers, signals, checkpoints."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import yaml
from accelerate.utils import broadcast_object_list

from roformer.attention import AttentionBackend
from roformer.config import TrainConfig
from roformer.runs.metrics import Line, append_metrics, check_metrics
from roformer.runtime.precision import autocast
from roformer.trackers import TRACKERS, Tracker
from roformer.training.export import write_model
from roformer.training.nonfinite import check_evaluation
from roformer.training.progress import ProgressBar
from roformer.training.spikes import LossBand

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer


class Callback:
    """What happens around the training step; a subclass overrides the hooks that it needs."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        """Wraps the whole loop."""
        yield

    def before_step(self, trainer: "Trainer") -> None:
        """Called when the batch is there, before the model sees it; ``trainer.state.step`` steps are done."""

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        """Called after a step that is logged or evaluated; may add to the line, which later callbacks see."""

    def after_step(self, trainer: "Trainer") -> None:
        """Called after each step, and after ``on_log``."""


def standard_callbacks(config: TrainConfig) -> list[Callback]:
    """Returns the callbacks of every run, in the order in which they depend on each other."""
    return [
        Evaluate(),
        KeepBest(config.trainer.early_stopping_patience),
        WriteMetrics(),
        SettleAttention(),
        ShowProgress(),
        TellSpikes(),
        Track(TRACKERS.build(config.tracker)),
        StopOnSignal(config.trainer.max_minutes),
        SaveCheckpoints(config.trainer.save_steps, config.trainer.save_minutes),
    ]


class Evaluate(Callback):
    """Adds the metrics on the validation split; those of the first process count for all. A signal ends it before the
    next forward pass, if there is one process; several would have to agree on one."""

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if not trainer.is_evaluated(trainer.state.step):
            return
        model, stop = trainer.unwrapped_model, trainer.stop
        is_alone = trainer.accelerator.num_processes == 1
        leave = model.register_forward_pre_hook(lambda *_: stop.raise_if_received()) if is_alone else None
        try:
            with autocast(trainer.config.trainer.precision, trainer.accelerator.device):
                metrics = trainer.task.evaluate(model, "validation")
        finally:
            if leave is not None:
                leave.remove()
        (metrics,) = broadcast_object_list([metrics])
        check_evaluation(trainer.state.step, metrics)
        line.update(metrics)


class SettleAttention(Callback):
    """Lets attention keep what it draws at random in the last tenth of a run."""

    def before_step(self, trainer: "Trainer") -> None:
        settled = trainer.state.step >= 0.9 * trainer.max_steps
        for module in trainer.unwrapped_model.modules():
            if isinstance(module, AttentionBackend):
                module.settled = settled


class KeepBest(Callback):
    """Follows the best evaluation; with a patience keeps its model, and stops after so many without a better one."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if not trainer.is_evaluated(trainer.state.step):
            return
        state, task = trainer.state, trainer.task
        value = line[task.best_metric]
        if state.best is None or (value > state.best if task.greater_is_better else value < state.best):
            state.best, state.evaluations_without_gain = value, 0
            if self.patience is not None:
                write_model(trainer, trainer.folder.new_best())
        else:
            state.evaluations_without_gain += 1
        if self.patience is not None:
            state.stopped_early = state.evaluations_without_gain >= self.patience


class WriteMetrics(Callback):
    """Appends the line to ``metrics.jsonl``; reports lines of an earlier part of the run that are gone."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        written = range(1, trainer.state.step + (not trainer.state.log_is_pending))
        if lost := check_metrics(trainer.folder.metrics_file, filter(trainer.is_logged, written)):
            trainer.accelerator.print(f"warning: {lost}")
        yield

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if trainer.accelerator.is_main_process:
            append_metrics(trainer.folder.metrics_file, line)


class ShowProgress(Callback):
    """Shows on the terminal how far the run is."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        main = trainer.accelerator.is_main_process
        name, done = trainer.folder.path.name, trainer.state.step
        with ProgressBar(name, start=done, total=trainer.max_steps, enabled=main) as self.bar:
            yield

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        self.bar.show(line)

    def after_step(self, trainer: "Trainer") -> None:
        self.bar.advance(trainer.state.step)


class TellSpikes(Callback):
    """Warns of a loss far above those of the lines before."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        lines = trainer.folder.metrics() if trainer.accelerator.is_main_process else []
        self.band = LossBand(line["loss"] for line in lines if "loss" in line and line["step"] <= trainer.state.step)
        yield

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if "loss" in line and (usual := self.band.excess(line["loss"])) is not None:
            trainer.accelerator.print(
                f"warning: the loss is {line['loss']:.3f} at step {line['step']}, after a median of {usual:.3f}"
            )


class Track(Callback):
    """Sends the line to the experiment tracker, from the main process."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        if trainer.accelerator.is_main_process:
            folder, settings, state = trainer.folder, yaml.safe_load(trainer.config.to_yaml()), trainer.state
            next_step = state.step + (not state.log_is_pending)
            self.tracker.start(folder.path, run_id=folder.run_id, config=settings, next_step=next_step)
        try:
            yield
        finally:
            self.tracker.finish()

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        values = {key: value for key, value in line.items() if key != "step"}
        self.tracker.log(values, step=int(line["step"]))


class StopOnSignal(Callback):
    """Stops the loop after the step in which any process received a signal that announces the end, or after so many
    minutes, as after SIGTERM; all processes stop at the same step. Exits with 128 + the number of the signal."""

    def __init__(self, max_minutes: float | None) -> None:
        self.max_minutes = max_minutes

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        self.start, state = time.monotonic(), trainer.state
        with trainer.stop:
            yield
        if trainer.signal_number and (state.step < trainer.max_steps or state.log_is_pending):
            trainer.accelerator.print(
                f"stopped at step {state.step} of {trainer.max_steps}, saved in {trainer.folder.checkpoint_dir}; "
                "re-run the same command to resume"
            )
            trainer.stop.hand_over()
            raise SystemExit(128 + trainer.signal_number)

    def after_step(self, trainer: "Trainer") -> None:
        accelerator, received = trainer.accelerator, trainer.stop.received or 0
        if self.max_minutes is not None and time.monotonic() - self.start >= 60 * self.max_minutes:
            received = received or signal.SIGTERM
        if accelerator.num_processes > 1:
            received = int(accelerator.gather(torch.tensor([received], device=accelerator.device)).max())
        trainer.signal_number = received


class SaveCheckpoints(Callback):
    """Saves a checkpoint every so many steps or minutes, and whenever the loop is about to end."""

    def __init__(self, save_steps: int, save_minutes: float | None) -> None:
        self.save_steps, self.save_minutes = save_steps, save_minutes
        self.saved = time.monotonic()

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        written, count = math.ceil(trainer.max_steps / self.save_steps), trainer.config.trainer.average_checkpoints
        if written < count:
            trainer.accelerator.print(
                f"of trainer.average_checkpoints={count} only {written}: lower trainer.save_steps"
            )
        yield

    def after_step(self, trainer: "Trainer") -> None:
        if trainer.is_saved(trainer.state.step) or trainer.is_done or self._is_time(trainer):
            trainer.settle()
            with trainer.meter.paused():
                trainer.checkpoints.save(trainer.state.step)
            self.saved = time.monotonic()

    def _is_time(self, trainer: "Trainer") -> bool:
        """Returns whether the minutes are over, by the clock of the first process."""
        if self.save_minutes is None:
            return False
        (is_over,) = broadcast_object_list([time.monotonic() - self.saved >= 60 * self.save_minutes])
        return bool(is_over)
