"""Evaluate finished runs, compare their position encodings, and write a report.

python evaluate.py runs='outputs/demo/*'
python evaluate.py runs='[outputs/a,outputs/b]' reference=learned output_dir=outputs/compared
"""

import hydra
from omegaconf import DictConfig

from roformer.cli.errors import one_line_errors
from roformer.config import EvaluateConfig


@one_line_errors
@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@one_line_errors
def main(raw: DictConfig) -> None:
    config = EvaluateConfig.from_hydra(raw)  # typed and checked; nothing below sees a DictConfig
    from roformer.evaluation.harness import evaluate  # seconds of imports, which --help need not wait for

    evaluate(config)


if __name__ == "__main__":
    main()
