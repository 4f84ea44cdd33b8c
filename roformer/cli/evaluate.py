"""``roformer-evaluate``, and ``evaluate.py`` of a checkout: measure finished runs and compare them."""

import os

from omegaconf import DictConfig

from roformer.cli.command import command
from roformer.config import EvaluateConfig
from roformer.errors import UserError


@command("evaluate")
def main(raw: DictConfig) -> None:
    config = EvaluateConfig.from_hydra(raw)  # typed and checked; nothing below sees a DictConfig
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise UserError(f"evaluate.py is one process, not {processes}; start it without torchrun or accelerate launch")
    from roformer.evaluation.harness import evaluate  # seconds of imports, which --help need not wait for

    evaluate(config)
