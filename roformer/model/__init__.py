"""The RoFormer as transformers models. Each name is imported when it is first read."""

from typing import TYPE_CHECKING

from roformer.lazy import lazy_names

if TYPE_CHECKING:
    from roformer.model.causal import RoFormerForCausalLM
    from roformer.model.configuration import RoFormerConfig
    from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
    from roformer.model.heads import RoFormerForMaskedLM, RoFormerForSequenceClassification
    from roformer.model.seq2seq import RoFormerForConditionalGeneration

__all__ = [
    "RoFormerConfig",
    "RoFormerForCausalLM",
    "RoFormerForConditionalGeneration",
    "RoFormerForMaskedLM",
    "RoFormerForSequenceClassification",
    "RoFormerModel",
    "RoFormerPreTrainedModel",
]

__getattr__ = lazy_names(
    __name__,
    {
        "RoFormerConfig": "roformer.model.configuration",
        "RoFormerForCausalLM": "roformer.model.causal",
        "RoFormerForConditionalGeneration": "roformer.model.seq2seq",
        "RoFormerForMaskedLM": "roformer.model.heads",
        "RoFormerForSequenceClassification": "roformer.model.heads",
        "RoFormerModel": "roformer.model.encoder",
        "RoFormerPreTrainedModel": "roformer.model.encoder",
    },
)
