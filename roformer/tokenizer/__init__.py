"""Tokenizers, one file each: trained on the corpus (``wordpiece``, ``words``), ``bytes``, or loaded."""

from roformer.tokenizer import bytes, pretrained, wordpiece, words
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

__all__ = ["TOKENIZERS", "TokenizerSource", "bytes", "pretrained", "wordpiece", "words"]
