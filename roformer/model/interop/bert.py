"""BERT, and what has its form (MacBERT, Chinese RoBERTa-wwm), as the start of a RoFormer.

Its table of positions is dropped, and any encoding takes its place: the model has to be trained on. With ``learned``
positions of the same number, the table stays, and the model remains BERT.

BERT's classifiers read the pooler, which here is the dense layer before a classifier with ``tanh``.

Source: transformers, models/bert/modeling_bert.py. Done before for WoBERT, from which Su's RoFormer began, and by hand
for many languages.
"""

from typing import Any, ClassVar

from transformers import BertConfig, PretrainedConfig

from roformer.model.interop._base import Checkpoint, ForeignFormat, Weights

_POOLED = {"dense": "pooler.dense", "classifier": "classifier"}


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
    ignored = ("embeddings.position_ids", "embeddings.position_embeddings", "embeddings.token_type_ids")
    new_positions = True

    @classmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        return stored.get("model_type") == "bert"

    @classmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        return {"classifier_dropout": config.classifier_dropout}

    @classmethod
    def own_head_settings(cls, config: PretrainedConfig, head: str) -> dict[str, Any]:
        return {"pooling": "cls", "classifier_activation": "tanh"} if cls.heads.get(head) is _POOLED else {}

    @classmethod
    def translate(cls, checkpoint: Checkpoint, settings: dict[str, Any]) -> Weights:
        ours = super().translate(checkpoint, settings)
        for name, weight in checkpoint.weights.items():
            if name.removeprefix(f"{cls.prefix}.") == "embeddings.position_embeddings.weight":
                ours["roformer.position.table.weight"] = weight
        return ours
