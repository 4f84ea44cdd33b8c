"""Small models whose weights show effects."""

import torch
from torch import nn

from roformer.model import RoFormerForCausalLM, RoFormerForMaskedLM, RoFormerLabConfig
from tests.choices import POSITION

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def draw_weights(model, std=0.3):
    """Draws weights at this standard deviation and gains near 1: at the usual 0.02 real effects hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=generator)
                gain = isinstance(module, nn.LayerNorm) and name == "weight"
                if parameter.requires_grad:  # stock RoFormer keeps its table of angles as a frozen parameter
                    parameter.copy_(1 + 0.1 * noise if gain else std * noise)
    return model.eval()


def build_tiny_model(name="rope", *, model_class=None, settings=None, std=0.3, **config):
    """Builds a model with the encoding of that name; other keywords go to its configuration."""
    position = {**POSITION.get(name, {"name": name}), **(settings or {})}
    model_class = model_class or (RoFormerForCausalLM if config.get("is_decoder") else RoFormerForMaskedLM)
    return draw_weights(model_class(RoFormerLabConfig(**{**SIZES, "position": position, **config})), std)
