"""Inverse square-root decay, as in Vaswani et al. 2017, arXiv:1706.03762, section 5.3."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_inverse_sqrt_schedule

from roformer.optim.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("inverse_sqrt")
class InverseSqrt(Schedule):
    """Falls with the inverse square root of the step; the end of the warm-up sets the time scale."""

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        return get_inverse_sqrt_schedule(optimizer, self.warmup_steps(max_steps))
