"""Makes our models known to transformers' Auto classes, which choose one by the class of its configuration."""

from functools import cache


@cache
def register_models() -> None:
    """Registers every model. The first configuration that is made calls it: no Auto class needs a model sooner, and
    importing the models takes longer than importing torch."""
    import transformers

    from roformer import model

    homes = {
        "AutoModel": model.RoFormerModel,
        "AutoModelForCausalLM": model.RoFormerForCausalLM,
        "AutoModelForMaskedLM": model.RoFormerForMaskedLM,
        "AutoModelForMultipleChoice": model.RoFormerForMultipleChoice,
        "AutoModelForPreTraining": model.RoFormerForMaskedLM,
        "AutoModelForQuestionAnswering": model.RoFormerForQuestionAnswering,
        "AutoModelForSeq2SeqLM": model.RoFormerForConditionalGeneration,
        "AutoModelForSequenceClassification": model.RoFormerForSequenceClassification,
        "AutoModelForTokenClassification": model.RoFormerForTokenClassification,
    }
    for auto_class, model_class in homes.items():
        getattr(transformers, auto_class).register(model.RoFormerLabConfig, model_class)
