"""RoFormer: rotary position embedding (arXiv:2104.09864), its baselines, and a pipeline to compare them.

The model classes load on first use, so that the parts that need no torch (reports, theory) start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roformer.model import (
        RoFormerConfig,
        RoFormerForMaskedLM,
        RoFormerForSequenceClassification,
        RoFormerModel,
    )

__all__ = ["RoFormerConfig", "RoFormerForMaskedLM", "RoFormerForSequenceClassification", "RoFormerModel"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("roformer.model"), name)
    raise AttributeError(f"module 'roformer' has no attribute '{name}'")
