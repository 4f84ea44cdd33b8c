"""Batches made in the background, in memory that an accelerator reads while the host goes on."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from roformer.tasks import Batch

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer

T = TypeVar("T")


def prefetch(make: Callable[[int], T], start: int, stop: int) -> Generator[T, None, None]:
    """Yields ``make(step)`` for each step; each is made while the caller works on the one before it."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, start)
        for step in range(start, stop):
            batch = ahead.result()
            if step + 1 < stop:
                ahead = pool.submit(make, step + 1)
            yield batch


def make_batch(trainer: "Trainer", step: int) -> tuple[int, list[Batch]]:
    """Returns the number of predictions in the whole batch of a step, and this process's parts of it."""
    task, size, accelerator = trainer.task, trainer.config.trainer.batch_size, trainer.accelerator
    shares = range(accelerator.process_index, trainer.shares, accelerator.num_processes)
    parts = [task.batch(step, size, share=share, shares=trainer.shares) for share in shares]
    shape = task.packed_shape(size // trainer.shares) if trainer.config.trainer.compile else None
    if shape:
        pad_token_id = int(task.tokenizer.pad_token_id)
        parts = [replace(part, inputs=shape.fill(part.inputs, pad_token_id=pad_token_id)) for part in parts]
    if accelerator.device.type != "cpu":
        parts = [_pinned(part) for part in parts]
    return task.num_items(step, size), parts


def _pinned(batch: Batch) -> Batch:
    """Returns a batch in page-locked memory, from which copies to the device need no host that waits."""
    inputs = {name: each.pin_memory() if torch.is_tensor(each) else each for name, each in batch.inputs.items()}
    return replace(batch, inputs=inputs)
