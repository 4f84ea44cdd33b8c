"""Attention backends, one file each. The file's name is the name in ``conf/attention/`` and in ``config.json``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.attention._base import ATTENTION_BACKENDS, AttentionBackend, SequenceLayout, document_ids
from roformer.attention._softmax import SoftmaxAttention

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["ATTENTION_BACKENDS", "AttentionBackend", "SequenceLayout", "SoftmaxAttention", "document_ids"]
