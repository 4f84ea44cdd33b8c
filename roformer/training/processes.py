"""Several processes that train one run: how long they wait for each other, and which one has stopped answering."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import distributed as dist

from roformer.config import TrainerConfig
from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.runtime.heartbeat import Heartbeat

_LOST = ("timed out", "timeout", "connection closed", "connection reset", "broken pipe")  # in what gloo says


_NOT_DONE = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "parallelism within the model",
}
"""Variable of ``accelerate launch`` -> what it asks for."""


class HungProcessError(UserError):
    """A process no longer answers. Only one of those that do raises this."""

    is_said_once = True


class Processes:
    """The processes of this run; one, unless a launcher such as torchrun has started more.

    Args:
        minutes: that they wait for each other in training.

    Raises:
        UserError: if Accelerate's launcher asks for what this trainer does not do.
    """

    def __init__(self, minutes: float) -> None:
        _check_launcher()
        self.minutes = minutes
        self.state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(minutes=minutes))
        several = self.state.num_processes > 1
        self._preparing = dist.new_group(timeout=timedelta(days=1), backend="gloo") if several else None

    def check_batch(self, trainer: TrainerConfig) -> None:
        """Raises ``UserError`` if the processes cannot share a batch."""
        if trainer.batch_size % (self.state.num_processes * trainer.gradient_accumulation_steps):
            raise UserError(
                f"trainer.batch_size {trainer.batch_size} is not a multiple of {self.state.num_processes} processes x "
                f"trainer.gradient_accumulation_steps {trainer.gradient_accumulation_steps}"
            )

    def wait_for_prepared(self) -> None:
        """Waits until all have their data, which for a large corpus takes longer than any step."""
        if self._preparing is not None:
            dist.barrier(self._preparing)

    @contextmanager
    def watched(self, folder: RunFolder) -> Iterator[None]:
        """Raises ``HungProcessError`` in place of what a lost process makes of the calls inside.

        Raises:
            SystemExit: with 1, in all processes but the first of those that answer.
        """
        heartbeat = Heartbeat(folder.signs_of_life(self.state.num_processes), self.state.process_index)
        with heartbeat.beating():
            try:
                yield
            except RuntimeError as error:
                if self._preparing is None or not any(word in str(error).lower() for word in _LOST):
                    raise
                silent = heartbeat.silent()
                answering = [rank for rank in range(self.state.num_processes) if rank not in silent]
                if self.state.process_index != min(answering, default=0):
                    raise SystemExit(1) from error
                who = f"process {' and '.join(map(str, silent))} has" if silent else "the processes have"
                raise HungProcessError(
                    f"{who} not answered for {self.minutes:g} minutes; look at its machine, then re-run the same "
                    "command to resume from the last checkpoint (trainer.timeout_minutes is the limit)"
                ) from error


def build_accelerator() -> Accelerator:
    """Returns what knows the device of this process, and prepares its model and optimizer."""
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="no",  # its wrapper would copy all logits to float32
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )


def _check_launcher() -> None:
    """Raises ``UserError`` for settings of ``accelerate launch`` that would be ignored, or change the gradients."""
    if asked := [
        name for variable, name in _NOT_DONE.items() if os.environ.get(variable, "").lower() in ("true", "1")
    ]:
        raise UserError(
            f"the configuration of accelerate launch asks for {asked[0]}, which is not supported: every process holds "
            "the whole model; choose multi-GPU or multi-CPU there, or use torchrun"
        )
    if (precision := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) not in ("no", "bf16"):
        raise UserError(
            f"accelerate launch was given {precision} as its mixed precision, which is not supported: small gradients "
            "would be lost; choose bf16 or no there, and trainer.precision=bf16 or fp32 here"
        )
    if (steps := os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")) not in ("1", "auto"):
        raise UserError(
            f"accelerate launch was given {steps} gradient accumulation steps; set "
            f"trainer.gradient_accumulation_steps={steps} instead, and 1 there"
        )
