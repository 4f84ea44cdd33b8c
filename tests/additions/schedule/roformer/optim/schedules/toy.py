"""Half the rate in the second half."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from roformer.optim.schedules._base import SCHEDULES, Schedule


@SCHEDULES.register("toy")
class OneStep(Schedule):
    """Constant after the warm-up, and half as high from the middle of the run on."""

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        warmup = max(1, self.warmup_steps(max_steps))
        return LambdaLR(optimizer, lambda step: min(1.0, step / warmup) * (0.5 if step > max_steps / 2 else 1.0))
