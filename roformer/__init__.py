"""RoFormer: rotary position embedding (arXiv:2104.09864), its baselines, and a pipeline to compare them.

Importing it makes the model type ``roformer_lab`` known to transformers' Auto classes.
"""

from roformer.model import (
    RoFormerConfig,
    RoFormerForMaskedLM,
    RoFormerForSequenceClassification,
    RoFormerModel,
)

__all__ = ["RoFormerConfig", "RoFormerForMaskedLM", "RoFormerForSequenceClassification", "RoFormerModel"]
__version__ = "0.1.0"
