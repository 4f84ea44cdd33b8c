"""Tokenizers: trained on the corpus (``wordpiece``) or loaded (``pretrained``)."""

from roformer.tokenizer import load, train
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

__all__ = ["TOKENIZERS", "TokenizerSource", "load", "train"]
