"""RoFormer: rotary position embedding (arXiv:2104.09864), its baselines, and a pipeline to compare them.

Importing it makes the model type ``roformer_lab`` known to transformers' Auto classes. It imports neither torch nor
transformers: a model is imported when its name is first read.
"""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from roformer.lazy import after_import, lazy_names

if TYPE_CHECKING:
    from roformer.model import (
        RoFormerForCausalLM,
        RoFormerForConditionalGeneration,
        RoFormerForMaskedLM,
        RoFormerForMultipleChoice,
        RoFormerForQuestionAnswering,
        RoFormerForSequenceClassification,
        RoFormerForTokenClassification,
        RoFormerLabConfig,
        RoFormerModel,
    )
    from roformer.position import RotaryEmbedding

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
    "RotaryEmbedding",
]
__version__ = "0.2.0"

__getattr__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "roformer.model"), "RotaryEmbedding": "roformer.position"}
)
after_import("transformers.models.auto.configuration_auto", partial(import_module, "roformer.model.configuration"))
