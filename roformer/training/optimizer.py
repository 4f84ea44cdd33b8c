"""AdamW and its learning-rate schedule."""

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import SchedulerType, get_scheduler

from roformer.config import OptimizerConfig, SchedulerConfig
from roformer.errors import UserError


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """Returns AdamW that decays matrices (embeddings too), but no norm and no bias: whatever has one dimension."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def build_scheduler(optimizer: AdamW, config: SchedulerConfig, max_steps: int) -> LRScheduler:
    """Returns transformers' schedule of that name.

    Raises:
        UserError: if transformers has no such schedule, or it needs more than a warm-up.
    """
    warmup_steps = round(config.warmup_ratio * max_steps)
    try:
        return get_scheduler(
            SchedulerType(config.name), optimizer, num_warmup_steps=warmup_steps, num_training_steps=max_steps
        )
    except (ValueError, TypeError) as error:
        names = ", ".join(kind.value for kind in SchedulerType)
        raise UserError(f"scheduler.name={config.name} cannot be used: {error} (transformers has: {names})") from error
