"""The contract of a learning-rate schedule: settings that are checked before any work, and torch's scheduler."""

from abc import ABC, abstractmethod

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from roformer.errors import UserError
from roformer.registry import Registry


class Schedule(ABC):
    """A learning rate that rises linearly from 0 in the warm-up; what follows is the subclass's.

    It multiplies the rate of each parameter group by the same factor.

    Args:
        warmup_ratio: warm-up, as a share of all steps.

    Raises:
        UserError: if the share is not in [0, 1].
    """

    def __init__(self, *, warmup_ratio: float) -> None:
        check_share("warmup_ratio", warmup_ratio)
        self.warmup_ratio = warmup_ratio

    def warmup_steps(self, max_steps: int) -> int:
        return round(self.warmup_ratio * max_steps)

    @abstractmethod
    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        """Returns the scheduler of a run of ``max_steps`` optimizer steps; ``step()`` follows each of them."""


def check_share(key: str, value: float) -> None:
    """Raises ``UserError`` unless ``scheduler.<key>`` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise UserError(f"scheduler.{key} must lie in [0, 1], got {value}")


SCHEDULES: Registry[Schedule] = Registry("scheduler")
