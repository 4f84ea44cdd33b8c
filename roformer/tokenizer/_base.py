"""What gives a tokenizer: trained on the corpus, or loaded."""

from abc import ABC, abstractmethod
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from roformer.data import Source
from roformer.registry import Registry


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


TOKENIZERS: Registry[TokenizerSource] = Registry("tokenizer")
