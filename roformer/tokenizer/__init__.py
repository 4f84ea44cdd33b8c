"""Tokenizers, one file each: trained on the corpus (``wordpiece``, ``words``, ``bpe``), ``bytes``, or loaded."""

from roformer.tokenizer import bpe, bytes, pretrained, wordpiece, words
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

__all__ = ["TOKENIZERS", "TokenizerSource", "bpe", "bytes", "pretrained", "wordpiece", "words"]
