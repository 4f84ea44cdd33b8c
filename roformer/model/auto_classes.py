"""Makes our models known to transformers' Auto classes, which choose one by the class of its configuration."""

from functools import cache

AUTO_CLASSES = {
    "AutoModel": "RoFormerModel",
    "AutoModelForCausalLM": "RoFormerForCausalLM",
    "AutoModelForMaskedLM": "RoFormerForMaskedLM",
    "AutoModelForMultipleChoice": "RoFormerForMultipleChoice",
    "AutoModelForPreTraining": "RoFormerForMaskedLM",
    "AutoModelForQuestionAnswering": "RoFormerForQuestionAnswering",
    "AutoModelForSeq2SeqLM": "RoFormerForConditionalGeneration",
    "AutoModelForSequenceClassification": "RoFormerForSequenceClassification",
    "AutoModelForTokenClassification": "RoFormerForTokenClassification",
}
"""Auto class of transformers -> model in ``roformer.model``."""


@cache
def register_models() -> None:
    """Registers every model. The first configuration that is made calls it: no Auto class needs a model sooner, and
    importing the models takes longer than importing torch."""
    import transformers

    from roformer import model

    for auto_class, name in AUTO_CLASSES.items():
        getattr(transformers, auto_class).register(model.RoFormerLabConfig, getattr(model, name))
