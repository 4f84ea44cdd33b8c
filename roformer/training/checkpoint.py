"""The checkpoints that a run resumes from."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from roformer.runs import RunFolder


class Checkpoints:
    """The checkpoints of one run: the newest few are kept.

    Args:
        folder: of the run.
        keep: how many of the regular ones are kept, and what is newer than the oldest of them.
        is_regular: of a step, whether every run of these settings writes a checkpoint there; those that a signal
            caused are not regular. None: all are.
    """

    def __init__(self, folder: RunFolder, *, keep: int, is_regular: Callable[[int], bool] | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self.is_regular = is_regular or (lambda step: True)

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Saves one checkpoint, whole or not at all, and deletes the oldest beyond ``keep``."""
        with self.folder.new_checkpoint(step) as draft:
            write(draft)
        kept = self._regular()[-self.keep :]
        for old in [other for other in self.folder.checkpoints if kept and other < kept[0]]:
            self.folder.remove_checkpoint(old)

    def load_average(self, model: nn.Module, count: int) -> None:
        """Gives the model the mean of each weight over the newest ``count`` regular checkpoints, summed in float32 at
        least."""
        total: dict[str, torch.Tensor] = {}
        steps = self._regular()[-count:]
        for step in steps:
            for name, weight in load_file(self.folder.checkpoints[step] / "model.safetensors").items():
                precise = weight.to(torch.promote_types(weight.dtype, torch.float32))
                total[name] = total[name] + precise if name in total else precise
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in total:
                    parameter.copy_(total[name] / len(steps))

    def _regular(self) -> list[int]:
        return [step for step in self.folder.checkpoints if self.is_regular(step)]
