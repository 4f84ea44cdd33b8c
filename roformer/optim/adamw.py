"""AdamW: Adam with decoupled weight decay.

Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2; ``torch.optim.AdamW``.
"""

import torch
from torch import nn

from roformer.optim._base import (
    OPTIMIZERS,
    OptimizerBuilder,
    check_above_zero,
    check_betas,
    check_weight_decay,
    decay_groups,
)


@OPTIMIZERS.register("adamw")
class AdamW(OptimizerBuilder):
    """AdamW on all parameters.

    Args:
        learning_rate: the highest rate of the schedule.
        betas: decay rates of the first and second moments, per step.
        eps: added to the root of the second moment.
        weight_decay: of matrices, embeddings included; norms and biases do not decay.

    Raises:
        UserError: if a value is outside its range.
    """

    def __init__(self, *, learning_rate: float, betas: list[float], eps: float, weight_decay: float) -> None:
        super().__init__(learning_rate=learning_rate)
        check_above_zero("eps", eps)
        check_weight_decay(weight_decay)
        self.betas, self.eps, self.weight_decay = check_betas(betas), eps, weight_decay

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        parameters = (parameter for parameter in model.parameters() if parameter.requires_grad)
        groups = decay_groups(parameters, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, eps=self.eps, fused=True)
