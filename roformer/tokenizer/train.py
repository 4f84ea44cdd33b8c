"""WordPiece, trained on the corpus at hand.

Source: the vocabulary of BERT (Devlin et al. 2019, arXiv:1810.04805, section 3), by the ``tokenizers`` library.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from roformer.data import Source
from roformer.data.cache import atomic_folder, content_key
from roformer.data.preprocess import split_documents
from roformer.errors import UserError
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

FORMAT = 1  # raise it when the same text would give another vocabulary
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of their ids
_CONTINUED = "##"
_MODEL_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


@TOKENIZERS.register("wordpiece")
class WordPieceTokenizer(TokenizerSource):
    """Trains WordPiece on the train split; the same corpus and settings give the same bytes.

    Args:
        vocab_size: tokens, the five special ones included.
        alphabet_size: how many of the most frequent characters the vocabulary spells words with; each takes two
            places (at the start of a word and inside), and a word with any other character becomes [UNK].
        lowercase: lower-case the text and strip accents, as BERT-uncased does.
        max_characters: train on so many characters at the head of the corpus; null for all of it.
    """

    def __init__(self, *, vocab_size: int, alphabet_size: int, lowercase: bool, max_characters: int | None) -> None:
        least = len(SPECIAL_TOKENS) + 2 * alphabet_size
        if alphabet_size < 1 or vocab_size < least:
            raise UserError(
                f"tokenizer.vocab_size={vocab_size} does not hold an alphabet of {alphabet_size} characters twice and "
                f"{len(SPECIAL_TOKENS)} special tokens (allowed: {least} or more; or change tokenizer.alphabet_size)"
            )
        self.vocab_size, self.alphabet_size = vocab_size, alphabet_size
        self.lowercase, self.max_characters = lowercase, max_characters

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Trains at the first call, and reads the cached folder after that.

        Raises:
            UserError: if the train split has no text.
        """
        settings = [self.vocab_size, self.alphabet_size, self.lowercase, self.max_characters]
        key = content_key(
            "wordpiece",
            FORMAT,
            tokenizers.__version__,
            source.fingerprint(),
            validation_fraction,
            test_fraction,
            settings,
        )
        folder = cache_dir / f"tokenizer-{key}"
        if not folder.is_dir():

            def texts() -> Iterator[str]:  # read twice, so that a corpus larger than memory works
                split = split_documents(source, validation_fraction=validation_fraction, test_fraction=test_fraction)
                return self._head(document.text for name, document in split if name == "train")

            trained = self._train(texts)
            special = dict(
                zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True)
            )
            with atomic_folder(folder) as draft:
                PreTrainedTokenizerFast(
                    tokenizer_object=trained, model_input_names=_MODEL_INPUTS, **special
                ).save_pretrained(draft)
        return PreTrainedTokenizerFast.from_pretrained(folder)

    def _head(self, texts: Iterator[str]) -> Iterator[str]:
        characters = 0
        for text in texts:
            yield text
            characters += len(text)
            if self.max_characters is not None and characters >= self.max_characters:
                return

    def _train(self, texts: Callable[[], Iterator[str]]) -> Tokenizer:
        normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        counts: Counter[str] = Counter()
        for text in texts():
            counts.update(normalizer.normalize_str(text))
        ranked = sorted((-count, character) for character, count in counts.items() if not character.isspace())
        alphabet = sorted(character for _, character in ranked[: self.alphabet_size])
        if not alphabet:
            raise UserError("no text in the train split to train a tokenizer on (lower data.validation_fraction)")
        # The trainer numbers "##a", "##b", ... in the order of a hash map, which differs between processes and decides
        # ties between merges. Listed as special tokens, they get their numbers from us.
        fixed = [*SPECIAL_TOKENS, *alphabet, *(_CONTINUED + character for character in alphabet)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            special_tokens=fixed,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            continuing_subword_prefix=_CONTINUED,
            show_progress=False,
        )
        learner = _assemble(normalizer, {})
        learner.train_from_iterator(texts(), trainer)
        return _assemble(normalizer, learner.get_vocab())  # anew, so that only the five are special


def _assemble(normalizer: normalizers.Normalizer, vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=_CONTINUED))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_CONTINUED)
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        ids = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
        )
    return tokenizer
