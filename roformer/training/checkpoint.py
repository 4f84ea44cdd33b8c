"""What makes a run resumable: whole checkpoints or none, the newest few, and a check that the run is the same."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from roformer.config import TrainConfig, first_difference, stored_config
from roformer.errors import UserError
from roformer.io import replace_folder

_MAY_CHANGE = {"paths", "tracker", "trainer.save_steps", "trainer.keep_checkpoints"}  # between parts of a run


class CheckpointFolder:
    """``step_00000100``, ``step_00000200``, ... of one run.

    Args:
        folder: where they lie.
        keep: how many of the regular ones are kept, and what is newer than the oldest of them.
        is_regular: of a step, whether its checkpoint is one that every run of these settings writes; those that a
            signal made are not. None: all are.
    """

    def __init__(self, folder: Path, *, keep: int, is_regular: Callable[[int], bool] | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self.is_regular = is_regular or (lambda step: True)

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Saves one checkpoint, whole or not at all, and deletes the oldest beyond ``keep``."""
        replace_folder(self.folder / f"step_{step:08d}", write)
        kept = self._regular()[-self.keep :]
        for old in (folder for folder in self._all() if kept and folder < kept[0]):
            shutil.rmtree(old)

    def latest(self) -> Path | None:
        """Returns the newest checkpoint, or None."""
        return self._all()[-1] if self._all() else None

    def averaged_weights(self, count: int) -> dict[str, torch.Tensor]:
        """Returns the mean of each weight, in float32 at least, over the newest ``count`` regular checkpoints."""
        total: dict[str, torch.Tensor] = {}
        folders = self._regular()[-count:]
        for folder in folders:
            for name, weight in load_file(folder / "model.safetensors").items():
                precise = weight.to(torch.promote_types(weight.dtype, torch.float32))
                total[name] = total[name] + precise if name in total else precise
        return {name: weight / len(folders) for name, weight in total.items()}

    def _regular(self) -> list[Path]:
        return [folder for folder in self._all() if self.is_regular(int(folder.name.removeprefix("step_")))]

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step_*"))


def stored_moments(init_from: str, shapes: Sequence[torch.Size]) -> dict[int, Any]:
    """Returns the optimizer's state at the end of the run ``init_from``, by parameter.

    Args:
        init_from: output folder of the run.
        shapes: of the parameters that the state is for, in their order.

    Raises:
        UserError: if the run's checkpoints are not there, its export is an earlier state, or it had other parameters.
    """
    latest = CheckpointFolder(Path(init_from) / "checkpoints", keep=1).latest()
    if latest is None:
        raise UserError(
            f"optimizer.carry needs a checkpoint in init_from={init_from}, and there is none; give the output folder "
            "of a run, or set optimizer.carry to false"
        )
    config = stored_config(Path(init_from))
    trainer = config["trainer"] if config else {}
    if trainer.get("early_stopping_patience") is not None or trainer.get("average_checkpoints", 1) > 1:
        raise UserError(
            f"init_from={init_from} exported its best state or a mean, and its optimizer is that of the last; set "
            "optimizer.carry to false"
        )
    moments: dict[int, Any] = torch.load(latest / "optimizer.bin", weights_only=True, map_location="cpu")["state"]
    if [moments[number]["exp_avg"].shape for number in sorted(moments)] != list(shapes):
        raise UserError(
            f"the optimizer of init_from={init_from} is not for these parameters, such as those of another task; set "
            "optimizer.carry to false"
        )
    return moments


def check_same_run(stored: dict[str, Any], config: TrainConfig) -> None:
    """Raises ``UserError`` if the folder holds a run with other settings, naming the first that differs."""
    averaged = config.trainer.average_checkpoints > 1  # which ones, save_steps decides
    but = _MAY_CHANGE - {"trainer.save_steps", "trainer.keep_checkpoints"} if averaged else _MAY_CHANGE
    if found := first_difference(stored, yaml.safe_load(config.to_yaml()), but=but):
        key, old, new = found
        raise UserError(
            f"{config.output_dir} holds a run with {key}={old}, now it is {new}; set it back, choose another "
            "paths.output_dir, or delete that folder"
        )
