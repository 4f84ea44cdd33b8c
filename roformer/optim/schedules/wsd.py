"""Warmup-stable-decay (WSD): a constant rate with a decay at the end.

Source: Hu et al. 2024, arXiv:2404.06395, section 4; Hägele et al. 2024, arXiv:2405.18392 (decay along 1 - sqrt).
"""

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_wsd_schedule

from roformer.errors import UserError
from roformer.optim.schedules._base import SCHEDULES, Schedule, check_share


@SCHEDULES.register("wsd")
class WarmupStableDecay(Schedule):
    """Stays constant after the warm-up, and falls to 0 in the last steps.

    Args:
        warmup_ratio: warm-up, as a share of all steps.
        decay_ratio: decay, as a share of all steps.
        decay_type: shape of the decay.

    Raises:
        UserError: if a share is not in [0, 1], or their sum is above 1.
    """

    def __init__(
        self, *, warmup_ratio: float, decay_ratio: float, decay_type: Literal["linear", "cosine", "1-sqrt"]
    ) -> None:
        super().__init__(warmup_ratio=warmup_ratio)
        check_share("decay_ratio", decay_ratio)
        if warmup_ratio + decay_ratio > 1:
            raise UserError(
                f"scheduler.warmup_ratio {warmup_ratio} and scheduler.decay_ratio {decay_ratio} are more than 1 "
                "together; lower one of them"
            )
        self.decay_ratio, self.decay_type = decay_ratio, decay_type

    def build(self, optimizer: Optimizer, max_steps: int) -> LRScheduler:
        warmup = self.warmup_steps(max_steps)
        decay = min(round(self.decay_ratio * max_steps), max_steps - warmup)  # both may have been rounded up
        return get_wsd_schedule(optimizer, warmup, decay, num_training_steps=max_steps, decay_type=self.decay_type)
