"""Train: MLM pretraining or long-text classification, chosen by ``task=`` or ``experiment=``.

python train.py                                                  # RoPE, tiny, on the embedded corpus
python train.py position=sinusoidal seed=1 trainer.max_steps=50
python train.py task=classification init_from=outputs/mlm-docs-rope-seed1
torchrun --nproc-per-node 2 train.py                             # the same batches on two processes
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig


@one_line_errors
@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@one_line_errors
def main(raw: DictConfig) -> None:
    config = TrainConfig.from_hydra(raw)  # typed and checked; nothing below sees a DictConfig
    from roformer.training.run import train  # seconds of imports, which --help need not wait for

    overridden = frozenset(override.split("=")[0].lstrip("+") for override in HydraConfig.get().overrides.task)
    train(config, overridden)


if __name__ == "__main__":
    main()
