"""Tokenizers, one file each: trained on the corpus (``wordpiece``, ``words``) or loaded (``pretrained``)."""

from roformer.tokenizer import pretrained, wordpiece, words
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

__all__ = ["TOKENIZERS", "TokenizerSource", "pretrained", "wordpiece", "words"]
