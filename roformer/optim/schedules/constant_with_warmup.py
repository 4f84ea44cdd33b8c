"""A constant rate."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_constant_schedule_with_warmup

from roformer.optim.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("constant_with_warmup")
class ConstantWithWarmup(Schedule):
    """Stays constant after the warm-up."""

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        return get_constant_schedule_with_warmup(optimizer, self.warmup_steps(max_steps))
