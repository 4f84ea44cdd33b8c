"""To and from the checkpoints of other programs: transformers' RoFormer and BERT, RoFormerV2, and TensorFlow's.

One file knows one format (``roformer``, ``roformer_v2``, ``bert``) or one place of files (``folder``, ``tensorflow``).
"""

from roformer.model.interop.foreign import ForeignCheckpoint, Model
from roformer.model.interop.roformer import to_stock

__all__ = ["ForeignCheckpoint", "Model", "to_stock"]
