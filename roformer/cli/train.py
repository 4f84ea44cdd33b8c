"""``roformer-train``, and ``train.py`` of a checkout: one run, or a sweep of several."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from roformer.cli.command import command
from roformer.config import TrainConfig


@command("train")
def main(raw: DictConfig) -> None:
    config = TrainConfig.from_hydra(raw)  # typed and checked; nothing below sees a DictConfig
    from roformer.training.run import train  # seconds of imports, which --help need not wait for

    overridden = frozenset(override.split("=")[0].lstrip("+") for override in HydraConfig.get().overrides.task)
    train(config, overridden)
