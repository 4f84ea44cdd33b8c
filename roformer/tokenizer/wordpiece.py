"""WordPiece, trained on the corpus.

Source: the vocabulary of BERT (Devlin et al. 2019, arXiv:1810.04805, section 3), by the ``tokenizers`` library.
"""

from collections.abc import Callable, Iterator

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from roformer.tokenizer._base import (
    CONTINUED,
    MODEL_INPUTS,
    NAMED_SPECIAL_TOKENS,
    SPECIAL_TOKENS,
    TOKENIZERS,
    SpellingTokenizer,
    bert_frame,
)


@TOKENIZERS.register("wordpiece")
class WordPieceTokenizer(SpellingTokenizer):
    """Splits text at whitespace, punctuation and Chinese characters, and words by WordPiece."""

    name = "wordpiece"
    cache_version = 1

    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        alphabet = self.alphabet(texts(), normalizer)
        # The trainer numbers "##a", "##b", ... in the order of a hash map that differs between processes, and this
        # order breaks ties between merges. Listing them as special tokens fixes their numbers.
        fixed = [*SPECIAL_TOKENS, *alphabet, *(CONTINUED + character for character in alphabet)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            special_tokens=fixed,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            continuing_subword_prefix=CONTINUED,
            show_progress=False,
        )
        trained = _assemble(normalizer, {})
        trained.train_from_iterator(texts(), trainer)
        return PreTrainedTokenizerFast(  # rebuilt, so that only the five are special
            tokenizer_object=_assemble(normalizer, trained.get_vocab()),
            model_input_names=MODEL_INPUTS,
            **NAMED_SPECIAL_TOKENS,
        )


def _assemble(normalizer: normalizers.Normalizer, vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=CONTINUED))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUED)
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        tokenizer.post_processor = bert_frame(vocabulary)
    return tokenizer
