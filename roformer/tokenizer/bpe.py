"""Byte-level byte-pair encoding, trained on the corpus; decoding restores every text up to a leading space.

Source: Sennrich et al. 2016, arXiv:1508.07909; on bytes, as in GPT-2, by the ``tokenizers`` library.
"""

from collections.abc import Callable, Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from roformer.errors import UserError
from roformer.tokenizer._base import NAMED_SPECIAL_TOKENS, SPECIAL_TOKENS, TOKENIZERS, TrainedTokenizer


@TOKENIZERS.register("bpe")
class BytePairTokenizer(TrainedTokenizer):
    """One joint vocabulary for all texts of a document, as for both languages in section 4.1 of the RoFormer paper.

    Raises:
        UserError: if the 256 bytes do not fit in the vocabulary.
    """

    name = "bpe"
    cache_version = 2

    def __init__(self, *, vocab_size: int, max_characters: int | None) -> None:
        super().__init__(vocab_size=vocab_size, max_characters=max_characters)
        if vocab_size < (least := len(SPECIAL_TOKENS) + 256):
            raise UserError(
                f"tokenizer.vocab_size={vocab_size} is too small for 256 bytes and {len(SPECIAL_TOKENS)} special "
                f"tokens (allowed: {least} or more)"
            )

    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        leading_space = decoders.Strip(content=" ", left=1, right=0)  # that ByteLevel puts before the first word
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), leading_space])
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts(), trainer)
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **NAMED_SPECIAL_TOKENS
        )
