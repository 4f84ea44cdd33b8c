"""Position encodings, one file each. The file's name is the name in ``conf/position/`` and in ``config.json``."""

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits
from roformer.position._rotary_embedding import RotaryEmbedding

POSITION_ENCODINGS.discover(__path__, __name__)

__all__ = ["POSITION_ENCODINGS", "ModelShape", "PositionEncoding", "PositionState", "RotaryEmbedding", "Traits"]
