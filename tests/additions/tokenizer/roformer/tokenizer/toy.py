"""One token per character, for the characters that are frequent in the corpus."""

from collections.abc import Callable, Iterator

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from roformer.tokenizer._base import NAMED_SPECIAL_TOKENS, SPECIAL_TOKENS, TOKENIZERS, SpellingTokenizer


@TOKENIZERS.register("toy")
class ToyTokenizer(SpellingTokenizer):
    """An alphabet; every other character becomes [UNK]."""

    name = "toy"
    cache_version = 1

    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        vocabulary = [*SPECIAL_TOKENS, *self.alphabet(texts(), normalizer)]
        ids = {token: number for number, token in enumerate(vocabulary)}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
        tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **NAMED_SPECIAL_TOKENS)
