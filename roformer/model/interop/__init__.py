"""To and from the checkpoints of other programs: transformers, the package ``roformer``, TensorFlow and keras-hub.

One file knows one format (``roformer``, ``roformer_v2``, ``bert``) or one place of files (``folder``, ``tensorflow``);
``keras_hub`` knows both.
"""

from transformers import PreTrainedModel

from roformer.model.configuration import RoFormerLabConfig
from roformer.model.interop._base import Weights
from roformer.model.interop.bert import to_bert
from roformer.model.interop.foreign import ForeignCheckpoint, Model
from roformer.model.interop.roformer import to_stock

__all__ = ["ForeignCheckpoint", "Model", "to_transformers"]


def to_transformers(config: RoFormerLabConfig, weights: Weights, head: str) -> PreTrainedModel:
    """Returns transformers' model with the same weights: BERT where positions are added to embeddings, RoFormer
    otherwise.

    Raises:
        UserError: if it has no such model.
    """
    added = (config.position or {}).get("name") in ("learned", "sinusoidal")
    return (to_bert if added else to_stock)(config, weights, head)
