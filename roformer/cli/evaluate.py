"""``roformer-evaluate``, and ``evaluate.py`` of a checkout: measure finished runs and compare them."""

from omegaconf import DictConfig

from roformer.cli.command import command
from roformer.config import EvaluateConfig


@command("evaluate")
def main(raw: DictConfig) -> None:
    config = EvaluateConfig.from_hydra(raw)  # typed and checked; nothing below sees a DictConfig
    from roformer.evaluation.harness import evaluate  # seconds of imports, which --help need not wait for

    evaluate(config)
