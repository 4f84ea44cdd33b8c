"""The training loop: one for every task, resumable at any step, on any number of processes."""

import atexit
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list

from roformer.build import Corpus, build_model, build_task, check_settings, resolve_checkpoint
from roformer.config import TrainConfig
from roformer.errors import RunTakenError, UserError
from roformer.runs import RunFolder
from roformer.runs.history import check_same_run
from roformer.runs.metrics import MetricsFile
from roformer.runs.provenance import check_initial_weights, record_part
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import autocast, resolve_precision
from roformer.tasks import TASKS, Batch, Task
from roformer.training.backend import resolve_backend
from roformer.training.checkpoint import Checkpoints, stored_moments
from roformer.training.learning_rate import Grid, best_rate, learning_rate_grid, told
from roformer.training.meter import Display, Meter
from roformer.training.optimizer import build_optimizer, build_scheduler
from roformer.training.signals import StopSignal
from roformer.training.tracking import check_tracker, start_tracker


@dataclass
class TrainState:
    """What a checkpoint holds beside weights, optimizer and schedule; batches need no state, only the step."""

    step: int = 0
    tokens: int = 0
    best: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def train(config: TrainConfig, overridden: frozenset[str]) -> None:
    """Trains, goes on with, or finds finished the run that ``config`` describes.

    Args:
        config: as composed from ``conf/``.
        overridden: the config groups that the user chose on the command line.

    Raises:
        UserError: for anything that the user can mend; nothing has been trained or overwritten then.
        SystemExit: with 128 + its number after a signal; the run has been saved.
    """
    disable_malloc_trim()
    config = resolve_checkpoint(config, overridden)
    check_settings(config)
    if config.optimizer.grid and "optimizer.learning_rate" in overridden:
        raise UserError(
            "optimizer.learning_rate has no effect with optimizer.grid; leave it out, or set the grid to null"
        )
    if config.optimizer.carry and not config.init_from:
        raise UserError(
            "optimizer.carry goes on with the optimizer of another run; give init_from, or set it to false"
        )
    check_tracker(config.tracker)
    # the others wait while the first prepares the data, which for a large corpus takes longer than the usual timeout
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=1))
    atexit.register(state.destroy_process_group)  # its threads must not outlive the interpreter, which would abort
    for key, path in (("output_dir", config.output_dir), ("cache_dir", Path(config.paths.cache_dir))):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to paths.{key}={path}: {error.strerror}") from error
    folder = RunFolder(config.output_dir)
    try:
        if not _acquire(folder, state):
            raise RunTakenError(folder.path)
        if folder.config is None:
            Corpus.from_settings(config.data)  # a wrong path is told before anything is measured
        config, grid = _settle(config, folder, state)
        if stored := folder.config:
            check_same_run(folder.path, stored, yaml.safe_load(config.to_yaml()))
            check_initial_weights(folder, config.init_from)
        if folder.status == "finished":
            state.print(f"{config.output_dir} is finished; delete it to train anew")
            return
        with state.main_process_first():  # the others find the caches filled
            task = build_task(config)
        state.print(task.summary())
        Trainer(config, task, grid).fit()
    finally:
        folder.unlock()


def _acquire(folder: RunFolder, state: PartialState) -> bool:
    """Returns on every process whether the first has the lock."""
    free = folder.lock() if state.is_main_process else True
    return bool(broadcast_object_list([free])[0])


def _settle(config: TrainConfig, folder: RunFolder, state: PartialState) -> tuple[TrainConfig, Grid | None]:
    """Puts the precision, the attention backend and the learning rate of the first part of the run, or else what a
    measurement or a grid finds best, in place of ``auto``; returns also what the grid says, where it was asked."""
    stored = folder.config
    precision, backend, model = config.trainer.precision, config.attention["name"], config.model
    if stored:
        precision = stored["trainer"]["precision"] if precision == "auto" else precision
        backend = stored["attention"]["name"] if backend == "auto" else backend
    precision, why = resolve_precision(precision, hidden_size=model["hidden_size"], device=state.device)
    backend, why_backend = resolve_backend(
        backend,
        length=config.length,
        head_size=model["hidden_size"] // model["num_attention_heads"],
        dropout=model["attention_probs_dropout_prob"],
        causal=TASKS[config.task["name"]].model_kind.get("is_decoder", False),
        precision=precision,
        device=state.device,
    )
    config = replace(
        config,
        trainer=replace(config.trainer, precision=precision),
        attention={**config.attention, "name": backend},
    )
    learning_rate, grid = config.optimizer.learning_rate, None
    if stored and config.optimizer.grid:
        learning_rate = stored["optimizer"]["learning_rate"]
    if not stored:
        grid = learning_rate_grid(config)
        learning_rate = best_rate(grid) if grid else learning_rate
        state.print(
            f"precision {precision} ({why}), attention {backend} ({why_backend}), learning rate {learning_rate:g}"
            + (f" ({told(grid, config.optimizer.grid)})" if grid else "")
        )
    # every process takes the path of the first
    precision, backend, learning_rate = broadcast_object_list([precision, backend, learning_rate])
    config = replace(
        config,
        trainer=replace(config.trainer, precision=precision),
        optimizer=replace(config.optimizer, learning_rate=learning_rate),
        attention={**config.attention, "name": backend},
    )
    return config, grid


class Trainer:
    """Trains one model on one task.

    Args:
        config: with precision, attention and learning rate settled.
        task: what to train.
        grid: what the learning rate was chosen from.
    """

    def __init__(self, config: TrainConfig, task: Task, grid: Grid | None = None) -> None:
        self.config, self.task, self.grid = config, task, grid
        self.folder = RunFolder(config.output_dir)
        trainer = config.trainer
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision="no",  # its wrapper would copy all logits to float32
            log_with=check_tracker(config.tracker),
            project_dir=config.output_dir,
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
        model = build_model(config, task).train()  # ``from_pretrained`` leaves one as it is evaluated
        if trainer.gradient_checkpointing:
            # the first is its name from transformers 5.23 on
            known = hasattr(model, "activation_checkpointing_enable")
            enable = model.activation_checkpointing_enable if known else model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        optimizer = build_optimizer(model, config.optimizer)
        self.scheduler = build_scheduler(optimizer, config.scheduler, self.max_steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.state = TrainState()
        self.meter = Meter()
        self.accelerator.register_for_checkpointing(self.state, self.scheduler, self.meter)
        self.checkpoints = Checkpoints(
            self.folder,
            keep=trainer.keep_checkpoints,
            is_regular=lambda step: step % trainer.save_steps == 0 or step == self.max_steps,
        )
        if (written := math.ceil(self.max_steps / trainer.save_steps)) < trainer.average_checkpoints:
            self.accelerator.print(
                f"trainer.average_checkpoints={trainer.average_checkpoints}, of which {self.max_steps} steps write "
                f"{written}: lower trainer.save_steps"
            )

    def fit(self) -> None:
        """Trains to the end, or to the first signal; then exports what users load."""
        try:
            self._fit()
        finally:
            self._finish_trackers()

    def _fit(self) -> None:
        self._resume()
        state, trainer = self.state, self.config.trainer
        metrics = self._open_metrics()
        main = self.accelerator.is_main_process
        display = Display(self.config.output_dir.name, start=state.step, total=self.max_steps, enabled=main)
        with StopSignal() as stop, display, ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._prepare, state.step)  # each batch is made while the one before it is trained on
            while state.step < self.max_steps and not state.stopped_early:
                with self.meter.waiting():
                    prepared = ahead.result()
                if state.step + 1 < self.max_steps:
                    ahead = pool.submit(self._prepare, state.step + 1)
                loss, tokens = self._train_step(state.step, *prepared)
                state.step += 1
                state.tokens += tokens
                self.meter.update(loss, tokens)
                last = state.step == self.max_steps
                evaluate = state.step % self.eval_steps == 0 or last
                if evaluate or state.step % trainer.logging_steps == 0:
                    learning_rate = float(self.scheduler.get_last_lr()[0])
                    line = {
                        "step": state.step,
                        **self.meter.report(),
                        "learning_rate": learning_rate,
                        "tokens": state.tokens,
                    }
                    if evaluate:
                        line.update(self._evaluate())
                    self._log(metrics, display, line)
                    self.meter.restart()
                display.advance(state.step)
                interrupted = self._any_process(stop.received)
                if state.step % trainer.save_steps == 0 or interrupted or last or state.stopped_early:
                    with self.meter.paused():
                        self._save()
                if interrupted and not last:
                    self._exit(interrupted)
        self._export()

    def _prepare(self, step: int) -> tuple[int, list[Batch]]:
        """Returns the predictions in the whole of batch ``step``, and this process's parts of it."""
        size = self.config.trainer.batch_size
        shares = range(self.accelerator.process_index, self.shares, self.accelerator.num_processes)
        parts = [self.task.batch(step, size, share=share, shares=self.shares) for share in shares]
        return self.task.num_items(step, size), parts

    def _train_step(self, step: int, num_items: int, parts: list[Batch]) -> tuple[torch.Tensor, int]:
        """One optimizer step; returns the batch's mean loss and its tokens, over all processes."""
        accelerator, trainer = self.accelerator, self.config.trainer
        dropout_seed = np.random.SeedSequence([self.config.seed, step, accelerator.process_index]).generate_state(1)
        torch.manual_seed(int(dropout_seed[0]))
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

    def _evaluate(self) -> dict[str, float]:
        """Metrics on the validation split; those of the first process decide for all."""
        with autocast(self.config.trainer.precision, self.accelerator.device):
            metrics = self.task.evaluate(self.accelerator.unwrap_model(self.model), "validation")
        metrics = broadcast_object_list([metrics])[0]
        value = metrics[self.task.best_metric]
        state = self.state
        gained = state.best is None or (value > state.best if self.task.greater_is_better else value < state.best)
        if gained:
            state.best, state.evaluations_without_gain = value, 0
        else:
            state.evaluations_without_gain += 1
        patience = self.config.trainer.early_stopping_patience
        if patience is not None:
            if gained:
                self._write_model(self.folder.new_best())
            state.stopped_early = state.evaluations_without_gain >= patience
        return metrics

    def _log(self, metrics: MetricsFile | None, display: Display, line: dict[str, float]) -> None:
        if metrics:
            metrics.write(line)
        if not math.isfinite(line["loss"]):
            raise UserError(
                f"the loss is {line['loss']} at step {line['step']}; lower optimizer.learning_rate, delete "
                f"{self.config.output_dir} and start anew"
            )
        display.show(line)
        self.accelerator.log({key: value for key, value in line.items() if key != "step"}, step=int(line["step"]))

    def _open_metrics(self) -> MetricsFile | None:
        if not self.accelerator.is_main_process:
            return None
        start_tracker(self.accelerator, self.config)
        return MetricsFile(self.folder.metrics_file, resumed_at=self.state.step)

    def _resume(self) -> None:
        latest = next(reversed(self.folder.checkpoints.values()), None)
        if latest is None and self.config.optimizer.carry:
            assert self.config.init_from is not None
            # the moments only: learning rates are this run's own
            parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
            moments = stored_moments(self.config.init_from, [each.shape for each in parameters])
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if self.accelerator.is_main_process:
            record_part(self.folder, self.config, self.task.corpus.fingerprint, self.grid)
        if latest:
            self.accelerator.load_state(str(latest))
            self.accelerator.print(f"going on from {latest}")
        self.meter.restart_clock()

    def _save(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write = lambda folder: self.accelerator.save_state(str(folder))  # noqa: E731
            self.checkpoints.save(self.state.step, write)
        self.accelerator.wait_for_everyone()

    def _any_process(self, received: int | None) -> int:
        """Returns the signal that any process received, or 0; all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return received or 0
        signals = self.accelerator.gather(torch.tensor([received or 0], device=self.accelerator.device))
        return int(signals.max())

    def _exit(self, signal_number: int) -> None:
        self.accelerator.print(
            f"stopped at step {self.state.step} of {self.max_steps}, saved in {self.folder.checkpoint_dir}; "
            "run the same command again to go on"
        )
        raise SystemExit(128 + signal_number)

    def _finish_trackers(self) -> None:
        for tracker in self.accelerator.trackers:  # end_training would end the process group, which a multirun needs
            tracker.finish()

    def _write_model(self, new_folder: AbstractContextManager[Path]) -> None:
        """Writes model and tokenizer as ``from_pretrained`` reads them."""
        if not self.accelerator.is_main_process:
            return
        model = self.accelerator.unwrap_model(self.model)
        with new_folder as draft:
            model.save_pretrained(draft)
            self.task.exported_tokenizer().save_pretrained(draft)

    def _export(self) -> None:
        """Writes ``export/``, the mark of a finished run: the best state where early stopping kept one, or the mean of
        the last checkpoints where it is asked for."""
        if (count := self.config.trainer.average_checkpoints) > 1:
            parameters = dict(self.accelerator.unwrap_model(self.model).named_parameters())
            with torch.no_grad():
                for name, weight in self.checkpoints.averaged_weights(count).items():
                    if name in parameters:
                        parameters[name].copy_(weight)
        if self.accelerator.is_main_process:
            if self.folder.best.is_dir():
                self.folder.export_best()
            else:
                self._write_model(self.folder.new_export())
        self.accelerator.wait_for_everyone()
        self.accelerator.print(f"finished: {self.folder.export}")
