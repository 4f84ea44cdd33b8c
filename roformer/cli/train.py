"""``roformer-train``, and ``train.py`` of a checkout: one run, or a sweep of several."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from roformer.cli.command import command
from roformer.cli.shares import is_of_share
from roformer.config import TrainConfig, overridden_keys


@command("train")
def main(raw: DictConfig) -> None:
    hydra = HydraConfig.get()
    share = OmegaConf.select(hydra, "callbacks.progress.share")  # none where a run's own config.yaml is the command's
    if not is_of_share(hydra.job.get("num", 0), share):
        return  # another process makes this run
    overridden = overridden_keys(hydra.overrides.task)
    config = TrainConfig.from_hydra(raw, overridden)  # typed and checked; nothing below sees a DictConfig
    from roformer.training.run import train  # seconds of imports, which --help need not wait for

    train(config, overridden)
