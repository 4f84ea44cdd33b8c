"""An existing tokenizer, from a local folder or the hub."""

import json
import re
from pathlib import Path

from accelerate import PartialState
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast, RoFormerTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from roformer.data import Source
from roformer.errors import UserError, one_line
from roformer.extras import require
from roformer.tokenizer import _keras_hub
from roformer.tokenizer._base import TOKENIZERS, TokenizerSource, rebuilt

_CHINESE = re.compile("[\u4e00-\u9fff]")
_UNKNOWN = "\u16a0"  # a rune
_NEEDED = ("pad_token", "cls_token", "sep_token", "mask_token")


@TOKENIZERS.register("pretrained")
class PretrainedTokenizer(TokenizerSource):
    """Loads a tokenizer with ``AutoTokenizer``.

    Args:
        path: a folder that ``save_pretrained`` wrote, one with a ``vocab.txt``, a preset of keras-hub, or a name on
            the hub such as google-bert/bert-base-uncased.
    """

    def __init__(self, *, path: str) -> None:
        self.path = path

    def prepare(
        self, source: Source, *, cache_dir: Path, validation_fraction: float, test_fraction: float
    ) -> PreTrainedTokenizerFast:
        """Loads the tokenizer; ignores the corpus and the cache.

        Raises:
            UserError: if it cannot be loaded, is not a fast tokenizer that can be serialized, has special tokens
                only, lacks a pad, cls, sep or mask token, uses one token for two of them or for unknown words, gives
                two tokens one number, or cannot read unknown words.
        """
        path = Path(self.path).expanduser()
        if not path.is_dir() and (path.is_absolute() or self.path.startswith((".", "~")) or self.path.count("/") > 1):
            raise UserError(
                f"tokenizer.path={self.path} is not a folder (give a folder or a hub name, or use tokenizer=wordpiece)"
            )
        tokenizer = load_tokenizer(str(path) if path.is_dir() else self.path)
        _check_serializable(tokenizer, self.path)
        _check_tokens(tokenizer, self.path)
        return tokenizer


def load_tokenizer(path: str) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a folder or a hub name; one of Chinese words as its class means it. No code that lies
    there is run.

    Raises:
        UserError: if there is none, or rjieba is missing for one of Chinese words.
    """
    try:
        if _keras_hub.is_preset(Path(path)):
            return _keras_hub.load_preset(Path(path))
        unnamed = _is_unnamed(Path(path))
        words = unnamed and _has_chinese_words(Path(path) / "vocab.txt")
        kind = RoFormerTokenizer if words else BertTokenizer
        tokenizer = (kind if unnamed else AutoTokenizer).from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers lets errors of every kind through, from HTTP to parsing
        if isinstance(error, ImportError):
            require("rjieba", f"tokenizer.path={path}")
        raise UserError(
            f"cannot load tokenizer.path={path}: {one_line(error)} (give a folder of save_pretrained, a "
            "hub name and a network, or use tokenizer=wordpiece)"
        ) from error
    if unnamed:
        read_as = "Chinese words" if words else "BERT's WordPiece"
        case = "in lower case" if tokenizer.init_kwargs.get("do_lower_case", True) else "with capitals"
        PartialState().print(
            f"tokenizer.path={path} has a vocab.txt and no file that names its kind: reading it as {read_as}, {case} "
            '(a tokenizer_config.json with "tokenizer_class" and "do_lower_case" would name it)'
        )
    return rebuilt(tokenizer) if isinstance(tokenizer, RoFormerTokenizer) else tokenizer


def _is_unnamed(folder: Path) -> bool:
    """Returns whether a folder has the tokens of a tokenizer, and nothing from which its class follows."""
    if not (folder / "vocab.txt").is_file() or (folder / "tokenizer.json").is_file():
        return False
    files = [folder / "tokenizer_config.json", folder / "config.json"]
    stored = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return not any(each.get("tokenizer_class") or each.get("model_type") in TOKENIZER_MAPPING_NAMES for each in stored)


def _has_chinese_words(vocabulary: Path) -> bool:
    """Returns whether a quarter of the Chinese tokens are words; BERT's WordPiece could never find one of them."""
    tokens = vocabulary.read_text(encoding="utf-8").split()
    counts = [len(_CHINESE.findall(token)) for token in tokens]
    return sum(count > 1 for count in counts) > sum(count > 0 for count in counts) / 4


def _check_serializable(tokenizer: PreTrainedTokenizerFast, path: str) -> None:
    """Raises ``UserError`` for a tokenizer whose tokens no export could reproduce."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"tokenizer.path={path} is a {type(tokenizer).__name__}, not a fast tokenizer (use one that has "
            "a tokenizer.json)"
        )
    if isinstance(tokenizer, RoFormerTokenizer):  # its class makes its splitter again
        return
    try:
        tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"tokenizer.path={path} splits words in Python ({type(tokenizer).__name__}) and cannot be "
            "serialized; use another tokenizer, such as tokenizer=wordpiece"
        ) from error


def _check_tokens(tokenizer: PreTrainedTokenizerFast, path: str) -> None:
    """Raises ``UserError`` if a token is missing that texts need, or one token or number stands for two."""
    if {*tokenizer.get_vocab()} <= {*tokenizer.all_special_tokens}:
        raise UserError(
            f"tokenizer.path={path} has no tokens but special ones; copy its vocab.txt or tokenizer.json there"
        )
    missing = [name for name in _NEEDED if getattr(tokenizer, name) is None]
    if missing:
        raise UserError(
            f"tokenizer.path={path} has no {' and no '.join(missing)}; the tasks need "
            f"{', '.join(_NEEDED)} (use a tokenizer of the BERT family, or tokenizer=wordpiece)"
        )
    distinct = (*_NEEDED, *(["unk_token"] if tokenizer.unk_token is not None else []))
    tokens = [str(getattr(tokenizer, name)) for name in distinct]
    if len(set(tokens)) < len(tokens):
        raise UserError(
            f"tokenizer.path={path} uses one token for two of {', '.join(distinct)}: {', '.join(tokens)}; "
            "give each its own"
        )
    names: dict[int, str] = {}
    for token, number in sorted(tokenizer.get_vocab().items()):
        if names.setdefault(number, token) != token:
            raise UserError(
                f"tokenizer.path={path} gives the number {number} to '{names[number]}' and to '{token}'; give each "
                "its own"
            )
    try:
        tokenizer(_UNKNOWN)
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"tokenizer.path={path} cannot read a word that it does not know ({one_line(error)}); add that token to "
            "its vocab.txt, where it was when the model was trained"
        ) from error
