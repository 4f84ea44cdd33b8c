"""Polynomial decay, as in BERT's and fairseq's training."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_polynomial_decay_schedule_with_warmup

from roformer.errors import UserError
from roformer.optim.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("polynomial")
class Polynomial(Schedule):
    """Falls with a power of the remaining steps from the end of the warm-up to ``lr_end`` at the last step.

    Args:
        warmup_ratio: warm-up, as a share of all steps.
        power: 1 is linear.
        lr_end: the rate at the last step; below ``optimizer.learning_rate``.

    Raises:
        UserError: if a value is outside its range.
    """

    def __init__(self, *, warmup_ratio: float, power: float, lr_end: float) -> None:
        super().__init__(warmup_ratio=warmup_ratio)
        if power <= 0:
            raise UserError(f"scheduler.power must be above 0, got {power}")
        if lr_end < 0:
            raise UserError(f"scheduler.lr_end must be 0 or more, got {lr_end}")
        self.power, self.lr_end = power, lr_end

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        if self.lr_end >= optimizer.defaults["lr"]:
            raise UserError(
                f"scheduler.lr_end={self.lr_end} must be below optimizer.learning_rate={optimizer.defaults['lr']}"
            )
        if (warmup := self.warmup_steps(max_steps)) == max_steps:
            raise UserError(
                f"scheduler.warmup_ratio={self.warmup_ratio} leaves none of {max_steps} steps for the decay; lower it"
            )
        return get_polynomial_decay_schedule_with_warmup(
            optimizer, warmup, max_steps, lr_end=self.lr_end, power=self.power
        )
