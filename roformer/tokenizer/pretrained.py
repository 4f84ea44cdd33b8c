"""An existing tokenizer, from a local folder or the hub."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roformer.data import Source
from roformer.data.tokenize import tokenizer_key
from roformer.errors import UserError, one_line
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource

_NEEDED = ("pad_token", "cls_token", "sep_token", "mask_token")


@TOKENIZERS.register("pretrained")
class PretrainedTokenizer(TokenizerSource):
    """Loads a tokenizer with ``AutoTokenizer``.

    Args:
        path: a folder that ``save_pretrained`` wrote, or a name on the hub such as google-bert/bert-base-uncased.
    """

    def __init__(self, *, path: str) -> None:
        self.path = path

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Loads the tokenizer; ignores the corpus and the cache.

        Raises:
            UserError: if it cannot be loaded, is not a fast tokenizer that can be serialized, lacks a pad, cls, sep
                or mask token, uses one token for two of them, or its numbers have a gap.
        """
        path = Path(self.path).expanduser()
        if not path.is_dir() and (path.is_absolute() or self.path.startswith((".", "~")) or self.path.count("/") > 1):
            raise UserError(
                f"tokenizer.path={self.path} is not a folder (give a folder or a hub name, or use tokenizer=wordpiece)"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(path) if path.is_dir() else self.path)
        except Exception as error:  # transformers lets errors of every kind through, from HTTP to parsing
            raise UserError(
                f"cannot load tokenizer.path={self.path}: {one_line(error)} (give a folder of save_pretrained, a "
                "hub name and a network, or use tokenizer=wordpiece)"
            ) from error
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise UserError(
                f"tokenizer.path={self.path} is a {type(tokenizer).__name__}, not a fast tokenizer (use one that has "
                "a tokenizer.json)"
            )
        try:
            tokenizer_key(tokenizer)
        except Exception as error:  # the library raises nothing narrower
            raise UserError(
                f"tokenizer.path={self.path} splits words in Python ({type(tokenizer).__name__}) and cannot be "
                "serialized; use another tokenizer, such as tokenizer=wordpiece"
            ) from error
        missing = [name for name in _NEEDED if getattr(tokenizer, name) is None]
        if missing:
            raise UserError(
                f"tokenizer.path={self.path} has no {' and no '.join(missing)}; the tasks need "
                f"{', '.join(_NEEDED)} (use a tokenizer of the BERT family, or tokenizer=wordpiece)"
            )
        tokens = [str(getattr(tokenizer, name)) for name in _NEEDED]
        if len(set(tokens)) < len(tokens):
            raise UserError(
                f"tokenizer.path={self.path} uses one token for two of {', '.join(_NEEDED)}: {', '.join(tokens)}; "
                "give each its own"
            )
        if (highest := max(tokenizer.get_vocab().values())) >= len(tokenizer):
            raise UserError(
                f"tokenizer.path={self.path} has {len(tokenizer)} tokens, numbered up to {highest}; its numbers must "
                "have no gap"
            )
        return tokenizer
