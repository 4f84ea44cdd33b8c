"""What gives a tokenizer: trained on the corpus, or loaded."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roformer.data import Source
from roformer.data.cache import content_key
from roformer.data.preprocess import split_documents
from roformer.errors import UserError
from roformer.io import atomic_folder
from roformer.registry import Registry

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of their ids
NAMED_SPECIAL_TOKENS = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True)
)  # as transformers calls them
CONTINUED = "##"


class TokenizerSource(ABC):
    """A way to get a tokenizer that has the tokens [PAD], [CLS], [SEP] and [MASK], whatever they are called in it."""

    @abstractmethod
    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Returns the tokenizer; what is trained sees the train split of ``source`` only, and is cached.

        Raises:
            UserError: if there is nothing to train on, or nothing to load.
        """


class TrainedTokenizer(TokenizerSource):
    """Trained on the train split of the corpus; the same corpus and settings give the same bytes.

    Args:
        vocab_size: tokens, the five special ones included.
        max_characters: train on so many characters at the head of the corpus; null for all of it.
    """

    name: ClassVar[str]
    format: ClassVar[int]
    """Rises whenever the same text would give another vocabulary."""
    made_by: ClassVar[tuple[str, ...]] = ("tokenizers",)
    """Packages that the vocabulary depends on."""

    def __init__(self, *, vocab_size: int, max_characters: int | None) -> None:
        self.vocab_size, self.max_characters = vocab_size, max_characters

    def settings(self) -> list[Any]:
        """Returns all that the vocabulary depends on beside the corpus."""
        return [self.vocab_size, self.max_characters]

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Trains at the first call, and reads the cached folder after that.

        Raises:
            UserError: if the train split has no text, or a package is missing.
        """
        try:
            versions = [self.format, *map(version, self.made_by)]
        except PackageNotFoundError as error:
            raise UserError(f"tokenizer={self.name} needs {error.name}: pip install {error.name}") from error
        data = [source.fingerprint(), validation_fraction, test_fraction]
        folder = cache_dir / f"tokenizer-{content_key(self.name, *versions, *data, self.settings())}"
        if not folder.is_dir():

            def texts() -> Iterator[str]:
                split = split_documents(source, validation_fraction=validation_fraction, test_fraction=test_fraction)
                return self._head(text for name, document in split if name == "train" for text in document.texts)

            trained = self.train(texts)
            with atomic_folder(folder) as draft:
                trained.save_pretrained(draft)
        return AutoTokenizer.from_pretrained(folder)

    @abstractmethod
    def train(self, texts: Callable[[], Iterator[str]]) -> PreTrainedTokenizerFast:
        """Returns the tokenizer. Each call of ``texts`` reads them anew, so that a corpus larger than memory works."""

    def _head(self, texts: Iterator[str]) -> Iterator[str]:
        characters = 0
        for text in texts:
            yield text
            characters += len(text)
            if self.max_characters is not None and characters >= self.max_characters:
                return


class SpellingTokenizer(TrainedTokenizer):
    """Spells words that it lacks with the characters that it has.

    Args:
        vocab_size, max_characters: as in ``TrainedTokenizer``.
        alphabet_size: how many of the most frequent characters the vocabulary spells words with; each takes two
            places (at the start of a word and inside), and a word with any other character becomes [UNK].
        lowercase: lower-case the text and strip accents, as BERT-uncased does.
    """

    def __init__(self, *, vocab_size: int, alphabet_size: int, lowercase: bool, max_characters: int | None) -> None:
        super().__init__(vocab_size=vocab_size, max_characters=max_characters)
        least = len(SPECIAL_TOKENS) + 2 * alphabet_size
        if alphabet_size < 1 or vocab_size < least:
            raise UserError(
                f"tokenizer.vocab_size={vocab_size} does not hold an alphabet of {alphabet_size} characters twice and "
                f"{len(SPECIAL_TOKENS)} special tokens (allowed: {least} or more; or change tokenizer.alphabet_size)"
            )
        self.alphabet_size, self.lowercase = alphabet_size, lowercase

    def settings(self) -> list[Any]:
        return [self.vocab_size, self.alphabet_size, self.lowercase, self.max_characters]

    def alphabet(self, texts: Iterator[str], normalizer: normalizers.Normalizer) -> list[str]:
        """Returns the most frequent characters of normalized texts, sorted.

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
