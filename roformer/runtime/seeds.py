"""Seeds of a step that do not depend on those before it."""

import numpy as np
import torch


def seed_dropout(seed: int, step: int, process: int) -> None:
    """Seeds PyTorch's generators for one step of a run in one of its processes."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0]))
