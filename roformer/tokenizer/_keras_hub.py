"""The tokenizer of a preset of keras-hub: its ``tokenizer.json`` has settings, ``assets/tokenizer`` the tokens.

keras-hub cuts a text and then folds the case of the words, with Unicode's compatibility forms. Here the text is folded
first, because the library ``tokenizers`` cannot do it later: a sign that becomes several, such as "…", is then cut.

Source: keras-hub 0.32, tokenizers/word_piece_tokenizer.py.
Checked against: the numbers that keras-hub gives to texts.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from roformer.errors import UserError
from roformer.tokenizer._base import MODEL_INPUTS, NAMED_SPECIAL_TOKENS, bert_frame

_SETTINGS, _VOCABULARY = "tokenizer.json", "assets/tokenizer/vocabulary.txt"
_CLASS = "RoformerV2Tokenizer"
_SPACES = Regex(r"[ \t\n\r\f\p{Cc}\p{Cf}]+")
_WORDS = Regex(  # punctuation and Chinese characters are words of their own
    r"[!-/:-@\[-`{-~\p{P}]|[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF]|"
    r"[\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}\x{2F800}-\x{2FA1F}]"
)


def is_preset(folder: Path) -> bool:
    """Returns whether a folder holds a tokenizer of keras-hub."""
    file = folder / _SETTINGS
    return file.is_file() and "registered_name" in json.loads(file.read_text(encoding="utf-8"))


def load_preset(folder: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a preset; it frames texts as BERT's does.

    Raises:
        UserError: if it is another tokenizer, or its vocabulary is missing.
    """
    stored = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    if stored["class_name"] != _CLASS or not stored["config"]["split"]:
        raise UserError(f"{_SETTINGS} is of keras-hub's {stored['class_name']}; a {_CLASS} that splits words is read")
    if not (folder / _VOCABULARY).is_file():
        raise UserError(f"{folder / _VOCABULARY} is missing; copy it there")
    with (folder / _VOCABULARY).open(encoding="utf-8") as lines:
        vocabulary = {line.rstrip(): number for number, line in enumerate(lines)}
    return PreTrainedTokenizerFast(
        tokenizer_object=_assemble(vocabulary, stored["config"]),
        model_input_names=MODEL_INPUTS,
        **{**NAMED_SPECIAL_TOKENS, "unk_token": stored["config"]["oov_token"]},
    )


def _assemble(vocabulary: dict[str, int], settings: dict[str, str | bool]) -> Tokenizer:
    """Returns the tokenizer with the settings of ``tokenizer.json``."""
    prefix = settings["suffix_indicator"]
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=settings["oov_token"], continuing_subword_prefix=prefix)
    )
    accents = [normalizers.NFD(), normalizers.StripAccents()] if settings["strip_accents"] else []
    case = [normalizers.NFKC(), normalizers.Lowercase()] if settings["lowercase"] else []
    tokenizer.normalizer = normalizers.Sequence(accents + case)
    cuts = [pre_tokenizers.Split(_SPACES, "removed"), pre_tokenizers.Split(_WORDS, "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoders.WordPiece(prefix=prefix)
    tokenizer.post_processor = bert_frame(vocabulary)
    return tokenizer
