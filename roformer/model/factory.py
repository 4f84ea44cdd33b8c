"""Models with freshly drawn weights, paired by seed."""

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from roformer.config import TrainConfig
from roformer.data.tokenize import vocabulary_size
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerPreTrainedModel


def model_settings(config: TrainConfig, of_task: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Returns the keyword arguments of ``RoFormerLabConfig`` for a run.

    Args:
        config: its model, position encoding and attention.
        of_task: what the task adds: which tokens see which, labels.
        tokenizer: gives the size of the vocabulary and the padding.
    """
    return {
        **config.model,
        **of_task,
        "position": config.position,
        "attention_backend": config.attention["name"],
        "attention_settings": {key: value for key, value in config.attention.items() if key != "name"},
        "vocab_size": vocabulary_size(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
    }


def draw_model(
    model_class: type[RoFormerPreTrainedModel], settings: dict[str, Any], seed: int
) -> RoFormerPreTrainedModel:
    """Draws the weights such that models of one seed share all but the position encoding's own: this is why
    differences between encodings are taken seed by seed."""
    torch.manual_seed(seed)
    plain = model_class(RoFormerLabConfig(**{**settings, "position": {"name": "none"}, "rotary_value": False}))
    torch.manual_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    model = model_class(RoFormerLabConfig(**settings))
    model.load_state_dict(plain.state_dict(), strict=False)
    return model
