"""A source with the shares of its documents that are held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from roformer.data._base import SOURCES, Source
from roformer.data.preprocess import TokenizedCorpus, tokenize_corpus
from roformer.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """Documents, and how they are split.

    Attributes:
        source: of the documents.
        fractions: ``validation_fraction`` and ``test_fraction``, where the source gives no such split itself.
    """

    source: Source
    fractions: dict[str, float]

    @classmethod
    def from_settings(cls, data: dict[str, Any]) -> "Corpus":
        """Returns the corpus that the config group ``data`` describes; nothing is downloaded yet.

        Raises:
            UserError: if a setting or a local file is missing.
        """
        names = ("validation_fraction", "test_fraction")
        if missing := [name for name in names if name not in data]:
            raise UserError(f"data.{missing[0]} needs a value, such as 0.05")
        fractions = {name: data[name] for name in names}
        return cls(SOURCES.build({key: value for key, value in data.items() if key not in fractions}), fractions)

    def tokenize(self, tokenizer: PreTrainedTokenizerFast, cache_dir: Path) -> TokenizedCorpus:
        """Returns the tokens of every split, from the cache where it holds them."""
        return tokenize_corpus(self.source, tokenizer, cache_dir=cache_dir, **self.fractions)
