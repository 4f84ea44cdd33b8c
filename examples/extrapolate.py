"""A RoPE model on texts longer than in training: as it is, and with YaRN, which needs no training.

python examples/extrapolate.py outputs/mlm-docs-rope-seed1/export README.md 128
"""

import sys

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

import roformer  # noqa: F401  # registers the model type
from roformer.config import TrainConfig

export, file, trained = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(export)
with open(file, encoding="utf-8") as text:
    tokens = tokenizer(text.read(), return_tensors="pt")["input_ids"]

for factor in (1, 2, 4):
    window = tokens[:, : trained * factor]
    predicted = torch.zeros_like(window, dtype=torch.bool)
    predicted[:, 1:trained:7] = True  # the same tokens at every length
    yarn = TrainConfig.compose(
        "position=rope_yarn", f"position.factor={factor}", f"position.original_max_position_embeddings={trained}"
    ).position
    for name, position in {"RoPE": AutoConfig.from_pretrained(export).position, "RoPE with YaRN": yarn}.items():
        config = AutoConfig.from_pretrained(export, position=position)
        model = AutoModelForMaskedLM.from_pretrained(export, config=config).eval()
        with torch.inference_mode():
            loss = model(
                window.masked_fill(predicted, tokenizer.mask_token_id), labels=window.where(predicted, -100)
            ).loss.item()
        print(f"{window.shape[1]:5} tokens, {name:15}{loss:.3f} nats per token")
