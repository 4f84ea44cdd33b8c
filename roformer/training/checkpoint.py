"""The checkpoints that a run resumes from. Nothing in them is pickled, so that none can run code.

``model.safetensors``      the weights, shared ones once
``optimizer.safetensors``  the tensors of the optimizer's state, such as ``3.exp_avg`` of parameter 3
``state.json``             step, schedule, meter, and what the optimizer's state has besides tensors
"""

import json
import pickle
from collections.abc import Callable, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from roformer.errors import UserError, one_line
from roformer.runs import RunFolder
from roformer.training.nonfinite import check_weights

_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError)


class Stateful(Protocol):
    """What has a state of plain numbers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to resume.

    Attributes:
        model: without what Accelerate put around it.
        optimizer: of its parameters.
        parts: by the name that their state has in ``state.json``.
    """

    model: nn.Module
    optimizer: Optimizer
    parts: dict[str, Stateful]

    def save(self, folder: Path) -> None:
        """Writes a checkpoint into an empty folder."""
        named = dict(self.model.named_parameters(remove_duplicate=False))
        buffers = {name: value for name, value in self.model.state_dict().items() if name not in named}
        weights = {**dict(self.model.named_parameters()), **buffers}  # of a shared weight its first name
        save_file({name: value.detach().contiguous() for name, value in weights.items()}, folder / "model.safetensors")
        state = self.optimizer.state_dict()
        values = {f"{index}.{key}": value for index, each in state["state"].items() for key, value in each.items()}
        tensors = {name: value.contiguous() for name, value in values.items() if torch.is_tensor(value)}
        save_file(tensors, folder / "optimizer.safetensors")
        content = {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "optimizer": {
                "param_groups": state["param_groups"],
                "numbers": {name: value for name, value in values.items() if name not in tensors},
            },
        }
        (folder / "state.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Restores what ``save`` wrote, or version 0.1.

        Raises:
            UserError: if a file cannot be read, or is of another model.
        """
        try:
            weights = load_file(folder / "model.safetensors")
            weights = {name.removeprefix("module."): weight for name, weight in weights.items()}  # 0.1, of processes
            self._check_names(weights.keys())
            self.model.load_state_dict(weights, strict=False)  # a shared weight has one of its names only
            self.optimizer.load_state_dict(_like(self.optimizer.state_dict(), optimizer_state(folder)))
            for name, state in _states(folder, list(self.parts)).items():
                self.parts[name].load_state_dict(state)
        except _UNREADABLE as error:
            raise UserError(
                f"cannot read {folder} ({one_line(error)}); delete it to resume from the one before"
            ) from error

    def _check_names(self, stored: Set[str]) -> None:
        """Raises ``ValueError`` unless the names are those of all weights of the model."""
        named = dict(self.model.named_parameters(remove_duplicate=False))
        found = {id(weight) for name, weight in named.items() if name in stored}
        absent = [name for name, weight in named.items() if id(weight) not in found]
        unknown = sorted(stored - self.model.state_dict().keys())
        if absent or unknown:
            raise ValueError(f"no weights {absent[0]}" if absent else f"unknown weights {unknown[0]}")


class Checkpoints:
    """The checkpoints of one run: the newest few are kept.

    Args:
        folder: of the run.
        training: what they hold.
        keep: how many of the regular ones are kept.
        is_regular: of a step, whether every run of these settings writes a checkpoint there. Of those that a signal or
            the time caused only the newest is kept.
    """

    def __init__(
        self, folder: RunFolder, training: TrainingState, *, keep: int, is_regular: Callable[[int], bool]
    ) -> None:
        self.folder, self.training, self.keep, self.is_regular = folder, training, keep, is_regular
        self._background = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def save(self, step: int) -> None:
        """Saves the state of all processes after ``step``, and deletes the oldest checkpoints beyond ``keep``.

        Training may continue while digests are computed and the disk is synced; the checkpoint counts after that.

        Raises:
            UserError: if a weight is not finite; earlier checkpoints stay.
        """
        check_weights(self.training.model, f"step {step}")
        self.wait()
        state = PartialState()
        state.wait_for_everyone()
        if state.is_main_process:
            with ExitStack() as stack:
                draft = stack.enter_context(self.folder.new_checkpoint(step))
                self.training.save(draft)
                written = stack.pop_all()
            self._pending = self._background.submit(self._put_in_place, written, step)
        state.wait_for_everyone()

    def wait(self) -> None:
        """Waits until the last checkpoint is in place.

        Raises:
            OSError: if that failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _put_in_place(self, written: ExitStack, step: int) -> None:
        written.close()
        kept = {step, *self._regular()[-self.keep :]}
        for old in self.folder.checkpoints.keys() - kept:
            self.folder.remove_checkpoint(old)

    def load_newest(self) -> Path | None:
        """Loads the newest whole checkpoint, on every process; returns its folder, or None where there is none."""
        self.wait()
        found = self.folder.newest_whole_checkpoint(print) if PartialState().is_main_process else None
        (newest,) = broadcast_object_list([found])
        if newest is not None:
            self.training.load(newest)
        return newest

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


def optimizer_state(folder: Path) -> dict[str, Any]:
    """Returns the ``state_dict`` of the optimizer in a checkpoint."""
    legacy = folder / "optimizer.bin"  # of version 0.1
    if legacy.is_file():
        found: dict[str, Any] = torch.load(legacy, weights_only=True, map_location="cpu")
        return found
    rest = json.loads((folder / "state.json").read_text(encoding="utf-8"))["optimizer"]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**load_file(folder / "optimizer.safetensors"), **rest["numbers"]}.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": rest["param_groups"]}


def _states(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Returns the states of the parts; those of version 0.1 lie in one file each, in the same order."""
    if (folder / "custom_checkpoint_0.pkl").is_file():
        files = (folder / f"custom_checkpoint_{number}.pkl" for number in range(len(names)))
        return {name: torch.load(file, weights_only=True) for name, file in zip(names, files, strict=True)}
    content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return {name: content[name] for name in names}


def _like(current: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """Returns the stored state with tuples where the optimizer has tuples, which JSON does not have."""
    groups = [
        {key: tuple(value) if isinstance(own.get(key), tuple) else value for key, value in group.items()}
        for own, group in zip(current["param_groups"], stored["param_groups"], strict=True)
    ]
    return {"state": stored["state"], "param_groups": groups}
