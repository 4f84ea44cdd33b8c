"""The training loop: one for every task, resumable at any step, on any number of processes."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial

import torch

from roformer.config import TrainConfig
from roformer.model import RoFormerPreTrainedModel
from roformer.optim import OPTIMIZERS
from roformer.optim.schedules import SCHEDULES
from roformer.runs import RunFolder
from roformer.runtime.inference import to_device
from roformer.runtime.precision import autocast
from roformer.runtime.seeds import seed_dropout
from roformer.tasks import Batch, Task
from roformer.training.callbacks import Callback
from roformer.training.checkpoint import Checkpoints, Stateful, TrainingState
from roformer.training.compilation import compile_layers
from roformer.training.export import export
from roformer.training.memory import halve_parts
from roformer.training.meter import ThroughputMeter
from roformer.training.nonfinite import DivergedError, Recovery, check_weights
from roformer.training.optimizer_state import load_optimizer_state
from roformer.training.prefetch import make_batch, prefetch
from roformer.training.processes import build_accelerator
from roformer.training.results import StepResults, clip_gradients
from roformer.training.signals import Interrupted, StopSignal
from roformer.training.state import TrainState
from roformer.training.warm_start import build_model


class Trainer:
    """Trains one model on one task.

    Args:
        config: with every choice made.
        task: what to train.
        folder: where the run is kept.
        callbacks: the side effects of the loop, in their order.

    Attributes:
        state: how far the training is.
        stop: notes the first signal that this process receives.
        signal_number: of the signal that stops the loop on all processes; 0 for none.

    Raises:
        UserError: if ``init_from`` has no fitting weights or optimizer.
    """

    def __init__(self, config: TrainConfig, task: Task, folder: RunFolder, callbacks: Sequence[Callback]) -> None:
        self.config, self.task, self.folder, self.callbacks = config, task, folder, callbacks
        trainer = config.trainer
        self.accelerator = build_accelerator()
        self.state = TrainState(trainer.gradient_accumulation_steps)
        self.meter, self.stop, self.signal_number = ThroughputMeter(), StopSignal(), 0
        steps_per_epoch = task.steps_per_epoch(trainer.batch_size)
        self.max_steps = trainer.max_steps or math.ceil(trainer.num_train_epochs * steps_per_epoch)
        self.eval_steps = trainer.eval_steps or math.ceil(steps_per_epoch)
        model = build_model(config, task)
        if trainer.compile:
            self.accelerator.print(compile_layers(model, self.accelerator.device))
        optimizer = OPTIMIZERS.build(config.optimizer).build(model)
        self.scheduler = SCHEDULES.build(config.scheduler).build(optimizer, self.max_steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        parts: dict[str, Stateful] = {"training": self.state, "scheduler": self.scheduler, "meter": self.meter}
        self.results = StepResults(self.accelerator, self.optimizer)
        self.recovery = Recovery(trainer.nonfinite, limit=trainer.nonfinite_limit)
        saved = TrainingState(self.unwrapped_model, self.optimizer, parts)
        self.checkpoints = Checkpoints(folder, saved, keep=trainer.keep_checkpoints, is_regular=self.is_saved)
        if config.load_optimizer_state and not folder.checkpoints:
            load_optimizer_state(self.optimizer, model, str(config.init_from), config.optimizer["name"])

    @property
    def unwrapped_model(self) -> RoFormerPreTrainedModel:
        """The model without what Accelerate put around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def shares(self) -> int:
        """Parts that a batch is cut into, over all processes."""
        return self.accelerator.num_processes * self.state.gradient_accumulation_steps

    def is_evaluated(self, step: int) -> bool:
        """Whether the model is evaluated after a step."""
        return step % self.eval_steps == 0 or step == self.max_steps

    def is_saved(self, step: int) -> bool:
        """Whether a step has a checkpoint that is kept."""
        return step > 0 and (step % self.config.trainer.save_steps == 0 or step == self.max_steps)

    def is_logged(self, step: int) -> bool:
        """Whether ``metrics.jsonl`` has a line of a step."""
        return step % self.config.trainer.logging_steps == 0 or self.is_evaluated(step)

    @property
    def is_done(self) -> bool:
        """Whether the loop ends here: at its last step, by early stopping or by a signal."""
        return self.state.step >= self.max_steps or self.state.stopped_early or self.signal_number > 0

    def fit(self) -> None:
        """Trains to the end, or to the first signal; then exports what users load.

        Raises:
            UserError: if a loss, gradient, metric or weight is not finite, and ``trainer.nonfinite`` has no remedy.
            SystemExit: with 128 + its number after a signal; the run has been saved.
        """
        if latest := self.checkpoints.load_newest():
            self.accelerator.print(f"resuming from {latest}")
        check_weights(self.unwrapped_model, str(latest or f"init_from={self.config.init_from}"))
        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.enter_context(callback.during(self))
            stack.callback(self.checkpoints.wait)
            while not self._loop():
                pass
        export(self)

    def _loop(self) -> bool:
        """Trains to the end, or to numbers that are not finite; returns whether it was the end."""
        state, meter = self.state, self.meter
        try:
            if state.log_is_pending or (state.step == 0 and self.config.trainer.eval_on_start):
                state.log_is_pending = False
                self._end_step()
            meter.restart_clock()
            with closing(prefetch(partial(make_batch, self), state.step, self.max_steps)) as batches:
                while not self.is_done:
                    with meter.waiting():
                        batch = next(batches)
                    for callback in self.callbacks:
                        callback.before_step(self)
                    try:
                        self._train_step(*batch)
                    except (RuntimeError, MemoryError) as error:
                        halve_parts(self, error)
                        return False
                    state.step += 1
                    self._end_step()
        except DivergedError as error:
            self.recovery.recover(self, error)
            return False
        return True

    def settle(self, *, but: int = 0) -> None:
        """Counts the steps whose results are there, and waits for them on an accelerator, except so many last ones.

        Raises:
            DivergedError: if the loss or a gradient of a step is not finite; its update has been skipped.
        """
        for result in self.results.read(but=but):
            self.state.tokens += int(result.tokens)
            self.meter.update(result.loss, int(result.tokens))

    def _end_step(self) -> None:
        self.settle(but=0 if self.is_logged(self.state.step) else 1)
        if self.is_logged(self.state.step):
            try:
                self._log()
            except Interrupted:
                self.state.log_is_pending = True
        for callback in self.callbacks:
            callback.after_step(self)

    def _log(self) -> None:
        rate = float(self.scheduler.get_last_lr()[0])
        line = {"step": self.state.step, **self.meter.report(), "learning_rate": rate, "tokens": self.state.tokens}
        for callback in self.callbacks:
            callback.on_log(self, line)
        self.meter.restart()

    def _train_step(self, num_items: int, parts: list[Batch]) -> None:
        """One optimizer step; none with a batch that is skipped. The host does not wait for an accelerator.

        Raises:
            DivergedError: before the weights change, if ``results`` are read by then and not finite.
        """
        if self.state.step in self.state.skipped:
            self.scheduler.step()
            return
        accelerator, trainer = self.accelerator, self.config.trainer
        seed_dropout(self.config.seed, self.state.step, accelerator.process_index)
        loss, tokens = torch.zeros((), device=accelerator.device), sum(part.tokens for part in parts)
        with autocast(trainer.precision, accelerator.device):  # around all parts: weights are cast once
            for number, part in enumerate(parts, start=1):
                inputs = to_device(part.inputs, accelerator.device)
                with nullcontext() if number == len(parts) else accelerator.no_sync(self.model):
                    part_loss = self.model(**inputs, num_items_in_batch=num_items).loss
                    # gradients are averaged over processes, and the loss is already divided by the whole batch
                    with autocast("fp32", accelerator.device):
                        accelerator.backward(part_loss * accelerator.num_processes)
                loss += part_loss.detach()
        self.results.add(self.state.step, loss, tokens, clip_gradients(self.unwrapped_model, trainer.max_grad_norm))
        if not self.results.are_read_late:
            self.settle()
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
