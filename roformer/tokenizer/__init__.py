"""Tokenizers, one file each. The file's name is the name in ``conf/tokenizer/``."""

from roformer.tokenizer._base import TOKENIZERS, TokenizerSource, rebuilt

TOKENIZERS.discover(__path__, __name__)

__all__ = ["TOKENIZERS", "TokenizerSource", "rebuilt"]
