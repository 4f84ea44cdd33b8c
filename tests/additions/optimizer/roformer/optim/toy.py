"""Gradient descent with momentum."""

import torch
from torch import nn

from roformer.optim._base import OPTIMIZERS, OptimizerBuilder, check_decay_rate


@OPTIMIZERS.register("toy")
class GradientDescent(OptimizerBuilder):
    """``torch.optim.SGD`` on all parameters.

    Args:
        learning_rate: the highest rate of the schedule.
        momentum: decay rate of the sum of gradients, per step.

    Raises:
        UserError: if a value is outside its range.
    """

    def __init__(self, *, learning_rate: float, momentum: float) -> None:
        super().__init__(learning_rate=learning_rate)
        check_decay_rate("momentum", momentum)
        self.momentum = momentum

    def build(self, model: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(model.parameters(), lr=self.learning_rate, momentum=self.momentum)
