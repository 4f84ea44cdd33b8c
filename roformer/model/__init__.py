"""The RoFormer as transformers models. Each name is imported when it is first read."""

from typing import TYPE_CHECKING

from roformer.lazy import lazy_names

if TYPE_CHECKING:
    from roformer.model.causal import RoFormerForCausalLM
    from roformer.model.classification import (
        RoFormerForMultipleChoice,
        RoFormerForSequenceClassification,
        RoFormerForTokenClassification,
    )
    from roformer.model.configuration import RoFormerLabConfig
    from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
    from roformer.model.heads import RoFormerForMaskedLM
    from roformer.model.question_answering import RoFormerForQuestionAnswering
    from roformer.model.seq2seq import RoFormerForConditionalGeneration

__all__ = [
    "RoFormerForCausalLM",
    "RoFormerForConditionalGeneration",
    "RoFormerForMaskedLM",
    "RoFormerForMultipleChoice",
    "RoFormerForQuestionAnswering",
    "RoFormerForSequenceClassification",
    "RoFormerForTokenClassification",
    "RoFormerLabConfig",
    "RoFormerModel",
    "RoFormerPreTrainedModel",
]

__getattr__ = lazy_names(
    __name__,
    {
        "RoFormerForCausalLM": "roformer.model.causal",
        "RoFormerForConditionalGeneration": "roformer.model.seq2seq",
        "RoFormerForMaskedLM": "roformer.model.heads",
        "RoFormerForMultipleChoice": "roformer.model.classification",
        "RoFormerForQuestionAnswering": "roformer.model.question_answering",
        "RoFormerForSequenceClassification": "roformer.model.classification",
        "RoFormerForTokenClassification": "roformer.model.classification",
        "RoFormerLabConfig": "roformer.model.configuration",
        "RoFormerModel": "roformer.model.encoder",
        "RoFormerPreTrainedModel": "roformer.model.encoder",
    },
)
