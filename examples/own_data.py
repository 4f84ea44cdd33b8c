"""Training on documents that your program makes: write them to a file, compose a configuration, train.

python examples/own_data.py my/documents.jsonl outputs/own 200
"""

import json
import sys
from pathlib import Path

from roformer.config import TrainConfig
from roformer.training.run import train

file, output_dir, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
documents = [f"Document {number} counts: " + " ".join(map(str, range(number, number + 60))) for number in range(400)]
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text("\n".join(json.dumps({"text": text}) for text in documents), encoding="utf-8")

overrides = (
    "data=text",
    f"data.path={file}",
    "position=rope",
    "tokenizer.vocab_size=600",
    f"trainer.max_steps={steps}",
    f"trainer.eval_steps={steps}",
    "trainer.precision=fp32",
    "tracker=none",
    f"paths.output_dir={output_dir}",
)
train(TrainConfig.compose(*overrides), frozenset(override.split("=")[0] for override in overrides))
