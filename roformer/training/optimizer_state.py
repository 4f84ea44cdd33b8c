"""Starting a run with the optimizer state of another, as the stages of one long training do."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from torch.optim import Optimizer

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.training.checkpoint import optimizer_state

_FIX = "set load_optimizer_state=false"


def load_optimizer_state(optimizer: Optimizer, model: nn.Module, init_from: str, name: str) -> None:
    """Loads the state, such as moments, of the optimizer at the end of a run; learning rates stay as they are.

    Args:
        optimizer: built for ``model``.
        model: has the weights of that run.
        init_from: output folder of the run.
        name: of the optimizer in the registry.

    Raises:
        UserError: if the run has no checkpoint, its export is an earlier state, or it had another optimizer or other
            parameters.
    """
    run = RunFolder(init_from)
    config = run.config
    if not run.checkpoints or config is None:
        raise UserError(
            f"load_optimizer_state needs a checkpoint in init_from={init_from}, and there is none; give the output "
            f"folder of a run, or {_FIX}"
        )
    if config["trainer"]["early_stopping_patience"] is not None or config["trainer"]["average_checkpoints"] > 1:
        raise UserError(
            f"init_from={init_from} exported its best state or a mean, and its optimizer state is the last; {_FIX}"
        )
    if (trained_with := config["optimizer"]["name"]) != name:
        raise UserError(f"init_from={init_from} was trained with optimizer={trained_with}, not {name}; {_FIX}")
    latest = run.newest_whole_checkpoint(print)
    if latest is None:
        raise UserError(f"init_from={init_from} has no whole checkpoint; {_FIX}")
    stored = optimizer_state(latest)
    current = optimizer.state_dict()
    if _sizes(stored) != _sizes(current) or not _has_parameters(latest / "model.safetensors", model):
        raise UserError(
            f"the optimizer of init_from={init_from} has other parameters than this model, such as those of another "
            f"task; {_FIX}"
        )
    optimizer.load_state_dict({**current, "state": stored["state"]})


def _sizes(state_dict: dict[str, Any]) -> list[int]:
    """Returns the number of parameters in each group."""
    return [len(group["params"]) for group in state_dict["param_groups"]]


def _has_parameters(file: Path, model: nn.Module) -> bool:
    """Returns whether a checkpoint has each parameter of a model, by name, in the same shape."""
    with safe_open(file, framework="pt") as weights:
        shapes = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    return all(shapes.get(key) == tuple(parameter.shape) for key, parameter in model.named_parameters())
