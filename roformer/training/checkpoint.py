"""The checkpoints that a run resumes from, and the optimizer state that the next run may start with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from roformer.errors import UserError
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


def load_optimizer_state(optimizer: torch.optim.Optimizer, init_from: str) -> None:
    """Gives an optimizer the moments that the run ``init_from`` ended with; learning rates stay its own.

    Args:
        optimizer: of the new run.
        init_from: output folder of the run that it continues.

    Raises:
        UserError: if the run's checkpoints are not there, its export is an earlier state, or it had other parameters.
    """
    run = RunFolder(init_from)
    if not run.checkpoints:
        raise UserError(
            f"optimizer.carry needs a checkpoint in init_from={init_from}, and there is none; give the output folder "
            "of a run, or set optimizer.carry to false"
        )
    trainer = run.config["trainer"] if run.config else {}
    if trainer.get("early_stopping_patience") is not None or trainer.get("average_checkpoints", 1) > 1:
        raise UserError(
            f"init_from={init_from} exported its best state or a mean, while its optimizer is that of the last step; "
            "set optimizer.carry to false"
        )
    *_, latest = run.checkpoints.values()
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, Any] = torch.load(latest / "optimizer.bin", weights_only=True, map_location="cpu")["state"]
    if [moments[number]["exp_avg"].shape for number in sorted(moments)] != shapes:
        raise UserError(
            f"the optimizer of init_from={init_from} is not for these parameters, such as those of another task; set "
            "optimizer.carry to false"
        )
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
