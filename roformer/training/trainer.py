"""The training loop: one for every task, resumable at any step, on any number of processes."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.model import RoFormerPreTrainedModel
from roformer.optim import OPTIMIZERS
from roformer.optim.schedules import SCHEDULES
from roformer.runs import RunFolder
from roformer.runtime.precision import autocast
from roformer.tasks import Batch, Task
from roformer.training.callbacks import Callback
from roformer.training.checkpoint import Checkpoints
from roformer.training.export import export
from roformer.training.meter import ThroughputMeter
from roformer.training.optimizer_state import load_optimizer_state
from roformer.training.prefetch import prefetch
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
        signal_number: of the signal that stops the loop; 0 for none.

    Raises:
        UserError: if the processes cannot share a batch, or ``init_from`` has no fitting weights or optimizer.
    """

    def __init__(self, config: TrainConfig, task: Task, folder: RunFolder, callbacks: Sequence[Callback]) -> None:
        self.config, self.task, self.folder, self.callbacks = config, task, folder, callbacks
        trainer = config.trainer
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision="no",  # its wrapper would copy all logits to float32
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        self.shares = self.accelerator.num_processes * trainer.gradient_accumulation_steps
        if trainer.batch_size % self.shares:
            raise UserError(
                f"trainer.batch_size {trainer.batch_size} is not a multiple of {self.accelerator.num_processes} "
                f"processes x trainer.gradient_accumulation_steps {trainer.gradient_accumulation_steps}"
            )
        steps_per_epoch = task.steps_per_epoch(trainer.batch_size)
        self.max_steps = trainer.max_steps or math.ceil(trainer.num_train_epochs * steps_per_epoch)
        self.eval_steps = trainer.eval_steps or math.ceil(steps_per_epoch)
        model = build_model(config, task).train()  # ``from_pretrained`` leaves it in evaluation mode
        if trainer.gradient_checkpointing:
            _enable_gradient_checkpointing(model)
        optimizer = OPTIMIZERS.build(config.optimizer).build(model)
        self.scheduler = SCHEDULES.build(config.scheduler).build(optimizer, self.max_steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.state, self.meter, self.signal_number = TrainState(), ThroughputMeter(), 0
        self.accelerator.register_for_checkpointing(self.state, self.scheduler, self.meter)
        self.checkpoints = Checkpoints(
            folder,
            keep=trainer.keep_checkpoints,
            is_regular=lambda step: step % trainer.save_steps == 0 or step == self.max_steps,
        )
        if config.load_optimizer_state and not folder.checkpoints:
            load_optimizer_state(self.optimizer, model, str(config.init_from), config.optimizer["name"])
        if (written := math.ceil(self.max_steps / trainer.save_steps)) < trainer.average_checkpoints:
            self.accelerator.print(
                f"trainer.average_checkpoints={trainer.average_checkpoints}, of which {self.max_steps} steps write "
                f"{written}: lower trainer.save_steps"
            )

    @property
    def unwrapped_model(self) -> RoFormerPreTrainedModel:
        """The model without what Accelerate put around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the model is evaluated after the step that has just been done."""
        return self.state.step % self.eval_steps == 0 or self.state.step == self.max_steps

    @property
    def is_done(self) -> bool:
        """Whether the loop ends here: at its last step, by early stopping or by a signal."""
        return self.state.step >= self.max_steps or self.state.stopped_early or self.signal_number > 0

    def fit(self) -> None:
        """Trains to the end, or to the first signal; then exports what users load.

        Raises:
            UserError: if the loss is not a number.
            SystemExit: with 128 + its number after a signal; the run has been saved.
        """
        if checkpoints := self.folder.checkpoints:
            latest = checkpoints[max(checkpoints)]
            self.accelerator.load_state(str(latest))
            self.accelerator.print(f"resuming from {latest}")
        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.enter_context(callback.during(self))
            self._loop()
        if self.signal_number and self.state.step < self.max_steps:
            self.accelerator.print(
                f"stopped at step {self.state.step} of {self.max_steps}, saved in {self.folder.checkpoint_dir}; "
                "re-run the same command to resume"
            )
            raise SystemExit(128 + self.signal_number)
        export(self)

    def _loop(self) -> None:
        state, meter = self.state, self.meter
        meter.restart_clock()
        with closing(prefetch(self._batch, state.step, self.max_steps)) as batches:
            while not self.is_done:
                with meter.waiting():
                    batch = next(batches)
                for callback in self.callbacks:
                    callback.before_step(self)
                loss, tokens = self._train_step(*batch)
                state.step += 1
                state.tokens += tokens
                meter.update(loss, tokens)
                if self.evaluation_is_due or state.step % self.config.trainer.logging_steps == 0:
                    self._log()
                for callback in self.callbacks:
                    callback.after_step(self)

    def _log(self) -> None:
        rate = float(self.scheduler.get_last_lr()[0])
        line = {"step": self.state.step, **self.meter.report(), "learning_rate": rate, "tokens": self.state.tokens}
        for callback in self.callbacks:
            callback.on_log(self, line)
        self.meter.restart()

    def _batch(self, step: int) -> tuple[int, list[Batch]]:
        """Returns the number of predictions in the whole of batch ``step``, and this process's parts of it."""
        size = self.config.trainer.batch_size
        shares = range(self.accelerator.process_index, self.shares, self.accelerator.num_processes)
        parts = [self.task.batch(step, size, share=share, shares=self.shares) for share in shares]
        return self.task.num_items(step, size), parts

    def _train_step(self, num_items: int, parts: list[Batch]) -> tuple[torch.Tensor, int]:
        """One optimizer step; returns the batch's mean loss and its tokens, over all processes."""
        accelerator, trainer = self.accelerator, self.config.trainer
        entropy = [self.config.seed, self.state.step, accelerator.process_index]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))  # of dropout
        loss, tokens = torch.zeros((), device=accelerator.device), 0
        for number, batch in enumerate(parts, start=1):
            inputs = {k: v.to(accelerator.device) if torch.is_tensor(v) else v for k, v in batch.inputs.items()}
            tokens += batch.tokens
            with nullcontext() if number == len(parts) else accelerator.no_sync(self.model):
                with autocast(trainer.precision, accelerator.device):
                    part_loss = self.model(**inputs, num_items_in_batch=num_items).loss
                # gradients are averaged over processes, and the loss is already divided by the whole batch
                accelerator.backward(part_loss * accelerator.num_processes)
            loss += part_loss.detach()
        accelerator.clip_grad_norm_(self.model.parameters(), trainer.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        if accelerator.num_processes > 1:
            loss, total = accelerator.reduce((loss, torch.tensor(tokens, device=accelerator.device)))
            tokens = int(total)
        return loss, tokens

    def save_checkpoint(self) -> None:
        """Saves all that the run needs to resume at this step."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.state.step, lambda draft: self.accelerator.save_state(str(draft)))
        self.accelerator.wait_for_everyone()


def _enable_gradient_checkpointing(model: RoFormerPreTrainedModel) -> None:
    known = hasattr(model, "activation_checkpointing_enable")  # its name from transformers 5.23 on
    enable = model.activation_checkpointing_enable if known else model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
