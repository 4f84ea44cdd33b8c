"""The contract of an optimizer: settings that are checked before any work, and a ``torch.optim.Optimizer`` of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from roformer.errors import UserError
from roformer.registry import Registry, check_type


class OptimizerBuilder(ABC):
    """Checks an optimizer's settings and builds it for a model.

    Every optimizer takes ``learning_rate``: learning-rate searches and published tables read it by that name.

    Args:
        learning_rate: the highest rate of the schedule.

    Raises:
        UserError: if it is not above 0.
    """

    def __init__(self, *, learning_rate: float) -> None:
        check_above_zero("learning_rate", learning_rate)
        self.learning_rate = float(learning_rate)

    @abstractmethod
    def build(self, model: nn.Module) -> Optimizer:
        """Returns the optimizer of a model's trainable parameters. Its first group has ``learning_rate``, which is
        the one that ``metrics.jsonl`` shows."""


def check_above_zero(key: str, value: float) -> None:
    """Raises ``UserError`` unless ``optimizer.<key>`` is a number above 0."""
    if not 0 < value < math.inf:
        raise UserError(f"optimizer.{key} must be above 0, got {value}")


def check_weight_decay(value: float) -> None:
    """Raises ``UserError`` unless ``optimizer.weight_decay`` is a number from 0 on."""
    if not 0 <= value < math.inf:
        raise UserError(f"optimizer.weight_decay must be 0 or more, got {value}")


def check_decay_rate(key: str, value: Any) -> None:
    """Raises ``UserError`` unless ``optimizer.<key>``, such as a momentum, lies in [0, 1)."""
    check_type(f"optimizer.{key}", value, float)
    if not 0 <= value < 1:
        raise UserError(f"optimizer.{key} must lie in [0, 1), got {value}")


def check_betas(betas: list[float]) -> tuple[float, float]:
    """Returns Adam's two decay rates.

    Raises:
        UserError: unless ``optimizer.betas`` are two numbers in [0, 1).
    """
    if len(betas) != 2:
        raise UserError(f"optimizer.betas must be two numbers such as [0.9, 0.98], got {betas}")
    for beta in betas:
        check_decay_rate("betas", beta)
    return betas[0], betas[1]


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Returns two parameter groups: matrices, embeddings included, decay; norms and biases (one dimension) do not."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


OPTIMIZERS: Registry[OptimizerBuilder] = Registry("optimizer")
