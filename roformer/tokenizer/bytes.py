"""One token per byte of UTF-8: needs no training and represents every text."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from roformer.data import Source
from roformer.tokenizer._base import NAMED_SPECIAL_TOKENS, SPECIAL_TOKENS, TOKENIZERS, TokenizerSource


@TOKENIZERS.register("bytes")
class BytesTokenizer(TokenizerSource):
    """A vocabulary of the five special tokens and 256 bytes."""

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
        tokenizer = Tokenizer(models.BPE(vocabulary, []))  # no merges
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **NAMED_SPECIAL_TOKENS
        )


def is_byte_level(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Returns whether the vocabulary consists of the 256 bytes and special tokens."""
    ordinary = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    return ordinary == set(pre_tokenizers.ByteLevel.alphabet())
