"""Attention backends, one file each. The file's name is the name in ``conf/attention/`` and in ``config.json``."""

from roformer.attention._base import ATTENTION_BACKENDS, AttentionBackend, AttentionInputs, PagedKeys
from roformer.attention._softmax import SoftmaxAttention
from roformer.attention.kernel import check_implementation
from roformer.attention.layout import SequenceLayout, document_ids

ATTENTION_BACKENDS.discover(__path__, __name__)

__all__ = [
    "ATTENTION_BACKENDS",
    "AttentionBackend",
    "AttentionInputs",
    "PagedKeys",
    "SequenceLayout",
    "SoftmaxAttention",
    "check_implementation",
    "document_ids",
]
