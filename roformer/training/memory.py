"""What is done where a training step finds no memory."""

from typing import TYPE_CHECKING

import torch

from roformer.errors import is_out_of_memory

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer


def halve_parts(trainer: "Trainer", error: Exception) -> None:
    """Cuts the batches of a trainer into twice as many parts, from this step on; batches stay as large as they are.

    Raises:
        Exception: the given one, if it is not about memory, ``trainer.auto_batch`` does not ask for this, parts cannot
            be halved, or other processes are in the middle of the step.
    """
    parts, settings = 2 * trainer.state.gradient_accumulation_steps, trainer.config.trainer
    is_possible = settings.auto_batch and trainer.accelerator.num_processes == 1 and settings.batch_size % parts == 0
    if not is_possible or not is_out_of_memory(error):
        raise error
    trainer.optimizer.zero_grad()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trainer.state.gradient_accumulation_steps = parts
    trainer.accelerator.print(
        f"out of memory at step {trainer.state.step + 1}: continuing with trainer.gradient_accumulation_steps={parts}"
    )
