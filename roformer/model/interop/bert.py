"""BERT, and what has its form (MacBERT, Chinese RoBERTa-wwm), as the start of a RoFormer.

Its table of positions is dropped, and any encoding takes its place: the model has to be trained on. With ``learned``
positions of the same number, the table stays, and the model remains BERT.

BERT's classifiers read the pooler, which here is the dense layer before a classifier with ``tanh``.

Source: transformers, models/bert/modeling_bert.py. Done before for WoBERT, from which Su's RoFormer began, and by hand
for many languages.
"""

from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor
from transformers import BertConfig, PretrainedConfig, PreTrainedModel

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.interop._base import Checkpoint, ForeignFormat, Weights
from roformer.position import POSITION_ENCODINGS

_POOLED = {"dense": "pooler.dense", "classifier": "classifier"}
_POOLED_SETTINGS = {"pooling": "cls", "classifier_activation": "tanh"}
_CLASSES = {"ForCausalLM": "BertLMHeadModel"}
_POSITIONS = "embeddings.position_embeddings"


class Bert(ForeignFormat):
    """BERT with any of its heads but that of next sentences."""

    name = "BERT"
    config_class = BertConfig
    prefix = "bert"
    heads: ClassVar[dict[str, dict[str, str]]] = {
        "ForSequenceClassification": _POOLED,
        "ForMultipleChoice": _POOLED,
        "ForTokenClassification": {"classifier": "classifier"},
        "ForQuestionAnswering": {"qa_outputs": "qa_outputs"},
    }
    ignored = ("embeddings.position_ids", _POSITIONS, "embeddings.token_type_ids")
    new_positions = True

    @classmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        return stored.get("model_type") == "bert"

    @classmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        return {"classifier_dropout": config.classifier_dropout}

    @classmethod
    def own_head_settings(cls, config: PretrainedConfig, head: str) -> dict[str, Any]:
        return _POOLED_SETTINGS if cls.heads.get(head) is _POOLED else {}

    @classmethod
    def translate(cls, checkpoint: Checkpoint, settings: dict[str, Any]) -> Weights:
        ours = super().translate(checkpoint, settings)
        for name, weight in checkpoint.weights.items():
            if name.removeprefix(f"{cls.prefix}.") == f"{_POSITIONS}.weight":
                ours["roformer.position.table.weight"] = weight
        return ours


def to_bert(config: RoFormerLabConfig, weights: Weights, head: str) -> PreTrainedModel:
    """Returns transformers' BERT with the same weights.

    Args:
        config: of our model, whose positions are learned, or sinusoidal: those fill the table.
        weights: its ``state_dict``, the body's as ``roformer.<name>``.
        head: transformers' name of the model, such as ``ForMaskedLM``.

    Raises:
        UserError: if it has no such model.
    """
    _refuse_others(config, head)
    settings = BertConfig(**Bert.shared_settings(config), classifier_dropout=config.classifier_dropout)
    body = {"add_pooling_layer": config.add_pooler} if head == "Model" else {}
    bert: PreTrainedModel = getattr(transformers, _CLASSES.get(head, f"Bert{head}"))(settings, **body)
    restored = Bert.restore(config, weights, head)
    stem = "" if head == "Model" else f"{Bert.prefix}."
    restored[f"{stem}{_POSITIONS}.weight"] = _table(config, weights)
    bert.load_state_dict({**bert.state_dict(), **restored})  # its untrained pooler in models that do not read it
    return bert


def _table(config: RoFormerLabConfig, weights: Weights) -> Tensor:
    """Returns what each position adds to the embedding of its token: (``max_position_embeddings``, E)."""
    position = POSITION_ENCODINGS.build(config.position or {}, config.shape)
    start = "roformer.position."
    position.load_state_dict({name[len(start) :]: weights[name] for name in weights if name.startswith(start)})
    with torch.no_grad():
        nothing = torch.zeros(config.max_position_embeddings, config.embedding_size or config.hidden_size)
        return position.embed(nothing, torch.arange(config.max_position_embeddings))


def _refuse_others(config: RoFormerLabConfig, head: str) -> None:
    """Raises ``UserError`` for what only this package has."""
    own = {
        "embedding_size": config.embedding_size not in (None, config.hidden_size),
        "rotary_value": config.rotary_value,
        "pooler_activation": config.add_pooler and config.pooler_activation != "tanh",
    }
    if Bert.heads.get(head) is _POOLED:
        own.update({name: getattr(config, name) != value for name, value in _POOLED_SETTINGS.items()})
    elif head == "ForTokenClassification":
        own["classifier_activation"] = config.classifier_activation is not None
    if found := [f"{name}={getattr(config, name)}" for name, is_own in own.items() if is_own]:
        raise UserError(f"Hugging Face BERT has no such model: {', '.join(found)}")
