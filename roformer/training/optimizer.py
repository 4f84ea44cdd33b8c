"""AdamW and its learning-rate schedule."""

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from roformer.config import OptimizerConfig, SchedulerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """Returns AdamW that decays matrices (embeddings too), but no norm and no bias: whatever has one dimension."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def build_scheduler(optimizer: AdamW, config: SchedulerConfig, max_steps: int) -> LRScheduler:
    """Returns transformers' schedule of that name, over ``max_steps`` optimizer steps."""
    warmup_steps = round(config.warmup_ratio * max_steps)
    return get_scheduler(config.name, optimizer, num_warmup_steps=warmup_steps, num_training_steps=max_steps)
