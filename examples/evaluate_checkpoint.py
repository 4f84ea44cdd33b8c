"""The masked-language-modeling loss of a trained model on a text file.

python examples/evaluate_checkpoint.py outputs/mlm-docs-rope-seed1/export README.md
"""

import sys

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import roformer  # noqa: F401  # registers the model type

export, file = sys.argv[1:]
model, tokenizer = AutoModelForMaskedLM.from_pretrained(export).eval(), AutoTokenizer.from_pretrained(export)
with open(file, encoding="utf-8") as text:
    tokens = tokenizer(text.read(), return_tensors="pt")["input_ids"][:, :128]

generator = torch.Generator().manual_seed(0)
predicted = torch.rand(tokens.shape, generator=generator) < 0.15
predicted[:, [0, -1]] = False  # [CLS] and the last token stay
labels = tokens.where(predicted, -100)
with torch.inference_mode():
    loss = model(tokens.masked_fill(predicted, tokenizer.mask_token_id), labels=labels).loss.item()
print(f"{loss:.3f} nats per token over {int(predicted.sum())} masked tokens of {file}")
