"""Makes our models known to transformers' Auto classes, which choose one by the class of its configuration."""

from functools import cache


@cache
def register_models() -> None:
    """Registers every model. The first configuration that is made calls it: no Auto class needs a model sooner, and
    importing the models takes longer than importing torch."""
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    from roformer.model.causal import RoFormerForCausalLM
    from roformer.model.configuration import RoFormerConfig
    from roformer.model.encoder import RoFormerModel
    from roformer.model.heads import RoFormerForMaskedLM, RoFormerForSequenceClassification
    from roformer.model.seq2seq import RoFormerForConditionalGeneration

    # The mappings compare class names first, and those of Hugging Face's RoFormer are the same; exist_ok keeps both.
    AutoModel.register(RoFormerConfig, RoFormerModel, exist_ok=True)
    AutoModelForCausalLM.register(RoFormerConfig, RoFormerForCausalLM, exist_ok=True)
    AutoModelForMaskedLM.register(RoFormerConfig, RoFormerForMaskedLM, exist_ok=True)
    AutoModelForSeq2SeqLM.register(RoFormerConfig, RoFormerForConditionalGeneration, exist_ok=True)
    AutoModelForSequenceClassification.register(RoFormerConfig, RoFormerForSequenceClassification, exist_ok=True)
