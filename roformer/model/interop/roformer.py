"""transformers' RoFormer ("stock"), both ways: BERT with interleaved RoPE, whose head for sequences has a dense layer.

Source: transformers, models/roformer/modeling_roformer.py.
"""

from typing import Any, ClassVar

import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel
from transformers import RoFormerConfig as StockConfig

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.interop._base import ForeignFormat, Weights

POSITION = {
    "name": "rope",
    "rope_theta": 10000.0,
    "layout": "interleaved",
    "partial_rotary_factor": 1.0,
    "frequency_band": "all",
}
"""Its only encoding."""

_POOLING = {"last": "last", "first": "cls", "mean": "mean"}  # its summary_type -> our pooling
_EXACT = ("gelu", "gelu_new", "relu", "silu", "swish")  # activations with f(x) - f(-x) = x


class StockRoFormer(ForeignFormat):
    """RoFormer as transformers has it, with any of its heads."""

    name = "RoFormer"
    config_class = StockConfig
    prefix = "roformer"
    heads: ClassVar[dict[str, dict[str, str]]] = {
        "ForSequenceClassification": {"dense": "classifier.dense", "classifier": "classifier.out_proj"},
        "ForTokenClassification": {"classifier": "classifier"},
        "ForQuestionAnswering": {"qa_outputs": "qa_outputs"},
        "ForMultipleChoice": {"dense": "sequence_summary.summary", "classifier": "classifier"},
    }
    ignored = ("encoder.embed_positions", "embeddings.position_ids")  # the table of angles can be computed

    @classmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        return stored.get("model_type") == "roformer" and stored.get("norm_type", "layer_norm") == "layer_norm"

    @classmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        return {
            "position": POSITION,
            "embedding_size": config.embedding_size,
            "rotary_value": config.rotary_value,
            "pooler_activation": getattr(config, "pooler_activation", "tanh"),
        }

    @classmethod
    def own_head_settings(cls, config: PretrainedConfig, head: str) -> dict[str, Any]:
        if head == "ForSequenceClassification":
            return {"pooling": "cls", "classifier_activation": config.hidden_act}
        if head != "ForMultipleChoice":
            return {}
        summary = getattr(config, "summary_type", "last")
        if summary not in _POOLING or getattr(config, "summary_proj_to_labels", False):
            raise UserError(f"no multiple-choice model here has summary_type={summary}, or summary_proj_to_labels")
        activation = getattr(config, "summary_activation", None) or "linear"
        projected = getattr(config, "summary_use_proj", False)
        return {"pooling": _POOLING[summary], "classifier_activation": activation if projected else None}


def to_stock(config: RoFormerLabConfig, weights: Weights, head: str) -> PreTrainedModel:
    """Returns transformers' RoFormer with the same weights.

    Args:
        config: of our model.
        weights: its ``state_dict``, the body's as ``roformer.<name>``.
        head: transformers' name of the model, such as ``ForMaskedLM``.

    Raises:
        UserError: if it has no such model.
    """
    settings = _stock_settings(config, head)
    if head == "ForSequenceClassification" and config.classifier_activation is None:
        weights = _through_dense(config, weights)
    stock: PreTrainedModel = getattr(transformers, f"RoFormer{head}")(StockConfig(**settings))
    restored = StockRoFormer.restore(config, weights, head)
    stock.load_state_dict({**stock.state_dict(), **restored})  # it keeps its own table of angles
    return stock


def _stock_settings(config: RoFormerLabConfig, head: str) -> dict[str, Any]:
    if {**POSITION, **(config.position or {})} != POSITION:
        raise UserError(
            f"Hugging Face RoFormer has no equivalent of position {config.position}; it has rope only, "
            "interleaved, with rope_theta 10000 on all channels"
        )
    if config.add_pooler:
        raise UserError("Hugging Face RoFormer has no pooler; this model has add_pooler=True")
    settings = StockRoFormer.shared_settings(config)
    settings.update(embedding_size=config.embedding_size, rotary_value=config.rotary_value)
    return {**settings, **_stock_head(config, head)}


def _stock_head(config: RoFormerLabConfig, head: str) -> dict[str, Any]:
    """Returns how stock's head reads the encoder; refuses what it cannot do."""
    activation = config.classifier_activation
    if head == "ForMultipleChoice":
        types = {ours: theirs for theirs, ours in _POOLING.items()}
        projected = {"summary_use_proj": True, "summary_activation": activation} if activation else {}
        return {"summary_type": types[config.pooling], **projected}
    if head == "ForSequenceClassification":
        is_linear = activation is None and config.hidden_act in _EXACT and 2 * config.num_labels <= config.hidden_size
        if config.pooling != "cls" or not (is_linear or activation == config.hidden_act):
            raise UserError(
                f"Hugging Face RoFormer classifies by the first token, a dense layer and {config.hidden_act}; this "
                f"model has pooling={config.pooling}, classifier_activation={activation} and {config.num_labels} "
                "labels; fine-tune with task.pooling=cls"
            )
    if head == "ForTokenClassification" and activation is not None:
        raise UserError(
            "Hugging Face RoFormer classifies tokens by a linear layer; this model has "
            f"classifier_activation={activation}"
        )
    return {}


def _through_dense(config: RoFormerLabConfig, weights: Weights) -> Weights:
    """Returns a linear classifier as the weights of stock's dense layer, activation and linear layer.

    With f(x) - f(-x) = x, two rows of the dense layer per label, x and -x, hand a logit on. Stock's dropout would fall
    between them: the logits are equal in evaluation mode.
    """
    weight, bias = weights["classifier.weight"], weights["classifier.bias"]
    labels, unused = len(weight), config.hidden_size - 2 * len(weight)
    identity = torch.eye(labels, dtype=weight.dtype, device=weight.device)
    return {
        **weights,
        "dense.weight": torch.cat([weight, -weight, weight.new_zeros(unused, config.hidden_size)]),
        "dense.bias": torch.cat([bias, -bias, bias.new_zeros(unused)]),
        "classifier.weight": torch.cat([identity, -identity, weight.new_zeros(labels, unused)], dim=1),
        "classifier.bias": torch.zeros_like(bias),
    }
