"""torch.compile for the layers of a model: around attention, whose kernels know packed documents by themselves."""

from functools import cache

import torch
from torch import Tensor, nn

from roformer.errors import UserError, one_line
from roformer.model.layers import RoFormerLayer
from roformer.runtime.choice import Choice

_REGIONS = ("project", "add_attention", "feed_forward")
BACKEND = "inductor"


def choose_compile(asked: bool | str, device: torch.device) -> Choice[bool]:
    """Returns whether layers are compiled; for ``auto``, on an accelerator for which something can be compiled.

    On a CPU, training gains too little from it for the seconds that it takes.
    """
    if asked != "auto":
        return Choice(bool(asked))
    if device.type == "cpu":
        return Choice(False, "auto: a CPU gains little from it")
    if reason := why_not(device):
        return Choice(False, f"auto: cannot compile here: {reason}")
    return Choice(True, "auto: an accelerator, and a compiler for it")


def compile_layers(model: nn.Module, device: torch.device) -> str:
    """Compiles the functions of each layer around attention, each as one graph, at its first call.

    Names of parameters stay. All layers share the graphs, and these are for any number of tokens, so that no batch
    needs another one: there is one set for training and one for evaluation.

    Returns:
        what the user should know of it.

    Raises:
        UserError: if nothing can be compiled for this device.
    """
    if reason := why_not(device):
        raise UserError(
            f"trainer.compile=true: PyTorch cannot compile for this device ({reason}); install a C++ compiler, on a "
            "GPU Triton as well, or set trainer.compile=false"
        )
    for layer in model.modules():
        if isinstance(layer, RoFormerLayer):
            for name in _REGIONS:
                function = getattr(layer, name)
                setattr(layer, name, torch.compile(function, backend=BACKEND, fullgraph=True, dynamic=True))
    return "compiling the layers: the first step and the first evaluation take longer"


@cache
def why_not(device: torch.device) -> str | None:
    """Returns in a line why PyTorch can compile nothing for a device, or None; tried once per process."""
    try:
        torch.compile(_tried, backend=BACKEND)(torch.ones(8, device=device))
    except (RuntimeError, ImportError, OSError) as error:  # a missing compiler, Triton, header or cache
        return one_line(error.__cause__ or error)
    return None


def _tried(x: Tensor) -> Tensor:
    return x.sin() + 1
