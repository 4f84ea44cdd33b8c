"""Cosine decay."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup

from roformer.optim.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Falls along half a cosine from the end of the warm-up to 0 at the last step."""

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        return get_cosine_schedule_with_warmup(optimizer, self.warmup_steps(max_steps), max_steps)
