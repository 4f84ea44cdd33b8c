"""The side effects of training, one class each: evaluation, early stopping, logs, trackers, signals, checkpoints."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import yaml
from accelerate.utils import broadcast_object_list

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.runs.metrics import MetricsFile
from roformer.runtime.precision import autocast
from roformer.trackers import TRACKERS, Tracker
from roformer.training.export import write_model
from roformer.training.progress import ProgressBar
from roformer.training.signals import StopSignal

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer

Line = dict[str, float]
"""One line of ``metrics.jsonl``."""


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
        ShowProgress(),
        Track(TRACKERS.build(config.tracker)),
        StopOnSignal(),
        SaveCheckpoints(config.trainer.save_steps),
    ]


class Evaluate(Callback):
    """Adds the metrics on the validation split; those of the first process count for all."""

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if trainer.evaluation_is_due:
            with autocast(trainer.config.trainer.precision, trainer.accelerator.device):
                metrics = trainer.task.evaluate(trainer.unwrapped_model, "validation")
            line.update(broadcast_object_list([metrics])[0])


class KeepBest(Callback):
    """Follows the best evaluation; with a patience keeps its model, and stops after so many without a better one."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if not trainer.evaluation_is_due:
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
    """Appends the line to ``metrics.jsonl``, and ends a run that has diverged."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        self.file: MetricsFile | None = None
        if trainer.accelerator.is_main_process:
            self.file = MetricsFile(trainer.folder.metrics_file, resumed_at=trainer.state.step)
        yield

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        if self.file:
            self.file.write(line)
        if not math.isfinite(line["loss"]):
            raise UserError(
                f"the loss is {line['loss']} at step {line['step']}; lower optimizer.learning_rate, delete "
                f"{trainer.folder.path} and start again"
            )


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


class Track(Callback):
    """Sends the line to the experiment tracker, from the main process."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        if trainer.accelerator.is_main_process:
            folder, settings = trainer.folder, yaml.safe_load(trainer.config.to_yaml())
            self.tracker.start(folder.path, run_id=folder.run_id, config=settings)
        try:
            yield
        finally:
            self.tracker.finish()

    def on_log(self, trainer: "Trainer", line: Line) -> None:
        values = {key: value for key, value in line.items() if key != "step"}
        self.tracker.log(values, step=int(line["step"]))


class StopOnSignal(Callback):
    """Stops the loop after the step in which any process received SIGINT or SIGTERM; all stop at the same step."""

    @contextmanager
    def during(self, trainer: "Trainer") -> Iterator[None]:
        with StopSignal() as self.signal:
            yield

    def after_step(self, trainer: "Trainer") -> None:
        accelerator, received = trainer.accelerator, self.signal.received or 0
        if accelerator.num_processes > 1:
            received = int(accelerator.gather(torch.tensor([received], device=accelerator.device)).max())
        trainer.signal_number = received


class SaveCheckpoints(Callback):
    """Saves a checkpoint every so many steps, and whenever the loop is about to end."""

    def __init__(self, save_steps: int) -> None:
        self.save_steps = save_steps

    def after_step(self, trainer: "Trainer") -> None:
        if trainer.state.step % self.save_steps == 0 or trainer.is_done:
            with trainer.meter.paused():
                trainer.save_checkpoint()
