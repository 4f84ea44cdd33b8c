"""A model in evaluation mode, and its inputs on its device."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def to_device(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Moves the tensors of a batch to a device, which the host does not wait for, and leaves everything else."""
    return {
        name: each.to(device, non_blocking=True) if torch.is_tensor(each) else each for name, each in inputs.items()
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """Puts a model into evaluation mode without gradients inside the block, and restores its mode afterwards.

    Yields:
        a function that moves the tensors of a batch to the model's device and leaves everything else as it is.
    """
    was_training, device = model.training, next(model.parameters()).device

    def on_device(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return to_device(inputs, device)

    model.eval()
    try:
        with torch.no_grad():
            yield on_device
    finally:
        model.train(was_training)
