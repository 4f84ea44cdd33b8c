"""The RoFormer as transformers models, known to ``AutoConfig``, ``AutoModel`` and their kin."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from roformer.model.causal import RoFormerForCausalLM
from roformer.model.configuration import RoFormerConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
from roformer.model.heads import RoFormerForMaskedLM, RoFormerForSequenceClassification
from roformer.model.seq2seq import RoFormerForConditionalGeneration

AutoConfig.register(RoFormerConfig.model_type, RoFormerConfig)
# The mappings compare class names first, and stock RoFormer's are the same; exist_ok lets ours stand beside them.
AutoModel.register(RoFormerConfig, RoFormerModel, exist_ok=True)
AutoModelForCausalLM.register(RoFormerConfig, RoFormerForCausalLM, exist_ok=True)
AutoModelForMaskedLM.register(RoFormerConfig, RoFormerForMaskedLM, exist_ok=True)
AutoModelForSeq2SeqLM.register(RoFormerConfig, RoFormerForConditionalGeneration, exist_ok=True)
AutoModelForSequenceClassification.register(RoFormerConfig, RoFormerForSequenceClassification, exist_ok=True)

__all__ = [
    "RoFormerConfig",
    "RoFormerForCausalLM",
    "RoFormerForConditionalGeneration",
    "RoFormerForMaskedLM",
    "RoFormerForSequenceClassification",
    "RoFormerModel",
    "RoFormerPreTrainedModel",
]
