"""The contract of a tokenizer source, and what trained tokenizers share."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import normalizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.data import Source
from roformer.data.cache import content_key
from roformer.data.splits import require_splits, split_documents
from roformer.errors import UserError
from roformer.extras import require
from roformer.io import cached_folder
from roformer.registry import Registry

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of their ids
NAMED_SPECIAL_TOKENS = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True)
)  # as transformers calls them
CONTINUED = "##"  # prefix of a token inside a word
MODEL_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


class TokenizerSource(ABC):
    """Trains or loads a tokenizer that has padding, CLS, SEP and MASK tokens, whatever it calls them."""

    @abstractmethod
    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Returns the tokenizer. If it is trained, then on the train split of ``source`` only; the result is cached.

        Raises:
            UserError: if there is no text to train on, or no tokenizer to load.
        """


def bert_frame(vocabulary: dict[str, int]) -> processors.TemplateProcessing:
    """Returns what makes ``[CLS] a [SEP]`` and ``[CLS] a [SEP] b [SEP]`` of texts, as BERT reads them."""
    return processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )


def rebuilt(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> PreTrainedTokenizerFast:
    """Returns a copy with other settings, of a class whose folder says all that it does.

    Classes of single models frame texts in their own way when they are loaded, whatever their folder says. Only that
    of Chinese words stays, because its splitter is Python code. transformers 5.23 gives this splitter the name of a
    vocab.txt in place of the words in it, so that it finds single characters only; the copy has the words.
    """
    settings = {**tokenizer.init_kwargs, **settings}
    if not isinstance(tokenizer, RoFormerTokenizer):
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **settings)
    return RoFormerTokenizer(vocab=tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False), **settings)


class TrainedTokenizer(TokenizerSource):
    """Trained on the train split of the corpus; the same corpus and settings give a byte-identical tokenizer.

    Args:
        vocab_size: number of tokens, including the five special tokens.
        max_characters: train on the first so many characters of the corpus; null for all of it.
    """

    name: ClassVar[str]
    cache_version: ClassVar[int]
    """Raise it when the same text would yield another vocabulary."""
    packages: ClassVar[tuple[str, ...]] = ("tokenizers",)
    """Packages whose versions the vocabulary depends on."""

    def __init__(self, *, vocab_size: int, max_characters: int | None) -> None:
        if max_characters is not None and max_characters < 1:
            raise UserError(f"tokenizer.max_characters must be at least 1, or null for all, got {max_characters}")
        self.vocab_size, self.max_characters = vocab_size, max_characters

    def settings(self) -> list[Any]:
        """Returns the settings that the vocabulary depends on."""
        return [self.vocab_size, self.max_characters]

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Trains on the first call, and reads the cached folder after that.

        Raises:
            UserError: if the train split has no text, or a package is missing.
        """
        for package in self.packages:
            require(package, f"tokenizer={self.name}")
        versions = [self.cache_version, *map(version, self.packages)]
        data = [source.fingerprint(), validation_fraction, test_fraction]
        folder = cache_dir / f"tokenizer-{content_key(self.name, *versions, *data, self.settings())}"

        def texts() -> Iterator[str]:
            split = split_documents(source, validation_fraction=validation_fraction, test_fraction=test_fraction)
            return self._head(text for name, document in split if name == "train" for text in document.texts)

        with cached_folder(folder) as draft:
            if draft is not None:
                require_splits(source, validation_fraction=validation_fraction, test_fraction=test_fraction)
                self.train(texts).save_pretrained(draft)
        return AutoTokenizer.from_pretrained(folder)

    @abstractmethod
    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        """Returns the tokenizer; every call of ``texts`` streams the corpus from its start."""

    def _head(self, texts: Iterator[str]) -> Iterator[str]:
        characters = 0
        for text in texts:
            yield text
            characters += len(text)
            if self.max_characters is not None and characters >= self.max_characters:
                return


class SpellingTokenizer(TrainedTokenizer):
    """A vocabulary that contains an alphabet, so that unknown words are spelled by characters.

    Args:
        vocab_size, max_characters: as in ``TrainedTokenizer``.
        alphabet_size: number of characters in the alphabet, the most frequent ones; each takes two tokens (at the
            start of a word and inside). A word with any other character becomes [UNK].
        lowercase: lower-case the text and strip accents, as BERT-uncased does.

    Raises:
        UserError: if the alphabet does not fit in the vocabulary.
    """

    def __init__(self, *, vocab_size: int, alphabet_size: int, lowercase: bool, max_characters: int | None) -> None:
        super().__init__(vocab_size=vocab_size, max_characters=max_characters)
        least = len(SPECIAL_TOKENS) + 2 * alphabet_size
        if alphabet_size < 1 or vocab_size < least:
            raise UserError(
                f"tokenizer.vocab_size={vocab_size} is too small for {len(SPECIAL_TOKENS)} special tokens and two "
                f"tokens per character of tokenizer.alphabet_size={alphabet_size} (allowed: {least} or more)"
            )
        self.alphabet_size, self.lowercase = alphabet_size, lowercase

    def settings(self) -> list[Any]:
        return [self.vocab_size, self.alphabet_size, self.lowercase, self.max_characters]

    def alphabet(self, texts: Iterator[str], normalizer: normalizers.Normalizer) -> list[str]:
        """Returns the most frequent characters of the normalized texts, sorted.

        Raises:
            UserError: if there are none.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(normalizer.normalize_str(text))
        ranked = sorted((-count, character) for character, count in counts.items() if not character.isspace())
        if not ranked:
            raise UserError("no text in the train split to train a tokenizer on (lower data.validation_fraction)")
        return sorted(character for _, character in ranked[: self.alphabet_size])


TOKENIZERS: Registry[TokenizerSource] = Registry("tokenizer")
