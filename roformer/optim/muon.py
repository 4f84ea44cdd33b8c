"""Muon: momentum whose update is orthogonalized, for the matrices of the layers; AdamW for everything else.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, arXiv:2502.16982 (one learning
rate and weight decay for both parts); ``torch.optim.Muon``.
"""

from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from roformer.model.layers import RoFormerLayer
from roformer.optim._base import (
    OPTIMIZERS,
    OptimizerBuilder,
    check_above_zero,
    check_betas,
    check_decay_rate,
    check_weight_decay,
    decay_groups,
)


class JointOptimizer(Optimizer):
    """Several optimizers as one: one state, one list of parameter groups, one file in a checkpoint.

    Groups and state are shared with the parts, not copied: a schedule that sets a group's rate sets it for its part.

    Args:
        parts: optimizers of different parameters.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        groups = [group for part in parts for group in part.param_groups]
        super().__init__(groups, {"lr": parts[0].defaults["lr"]})
        self._share()

    def _share(self) -> None:
        """Makes the parts work on the groups and the state of this optimizer."""
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            part.__setstate__({"state": self.state, "param_groups": self.param_groups[first:last]})
            first = last

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()  # loading replaces both

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no optimizer here reevaluates a loss
        """Updates all parameters once."""
        for part in self.parts:
            part.step()


@OPTIMIZERS.register("muon")
class Muon(OptimizerBuilder):
    """Muon on the 2-D weights of the Transformer layers; AdamW on embeddings, heads, position tables, norms, biases.

    Args:
        learning_rate: of Muon, the highest of the schedule.
        adamw_learning_rate: of AdamW; None means ``learning_rate``. Both follow the same schedule.
        momentum: decay rate of Muon's (Nesterov) momentum, per step.
        adjust_lr_fn: how the size of a matrix scales Muon's update. ``match_rms_adamw`` gives it the root mean square
            of AdamW's, so that rates tuned for AdamW fit; ``original`` is Jordan's.
        betas, eps: of AdamW.
        weight_decay: of all matrices, embeddings included; norms and biases do not decay.

    Raises:
        UserError: if a value is outside its range.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        adamw_learning_rate: float | None,
        momentum: float,
        adjust_lr_fn: Literal["match_rms_adamw", "original"],
        betas: list[float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(learning_rate=learning_rate)
        if adamw_learning_rate is not None:
            check_above_zero("adamw_learning_rate", adamw_learning_rate)
        check_above_zero("eps", eps)
        check_decay_rate("momentum", momentum)
        check_weight_decay(weight_decay)
        self.adamw_learning_rate = float(adamw_learning_rate or learning_rate)
        self.momentum, self.adjust_lr_fn, self.weight_decay = momentum, adjust_lr_fn, weight_decay
        self.betas, self.eps = check_betas(betas), eps

    def build(self, model: nn.Module) -> JointOptimizer:
        matrices = layer_matrices(model)
        known = {id(matrix) for matrix in matrices}
        others = (p for p in model.parameters() if p.requires_grad and id(p) not in known)
        muon = torch.optim.Muon(
            matrices,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            adjust_lr_fn=self.adjust_lr_fn,
        )
        groups = decay_groups(others, self.weight_decay)
        adamw = torch.optim.AdamW(groups, lr=self.adamw_learning_rate, betas=self.betas, eps=self.eps, fused=True)
        return JointOptimizer(muon, adamw)


def layer_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Returns the 2-D weights inside the Transformer layers: those of attention and of feed-forward networks. An
    encoding's parameters belong to the model, not to a layer."""
    layers = (module for module in model.modules() if isinstance(module, RoFormerLayer))
    return [p for layer in layers for p in layer.parameters() if p.dim() == 2 and p.requires_grad]
