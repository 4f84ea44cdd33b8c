"""Which tokens BLEU counts: the words of mteval-v13a, or, where blanks do not separate words, those of the script.

Source: Post 2018, arXiv:1804.08771 (sacreBLEU), whose tokenizers these are.
"""

import re
from collections.abc import Sequence

_LETTER = re.compile(r"[^\W\d_]")
_KANA = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff]")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SOUTHEAST_ASIAN = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f]")  # and Tibetan
_SOME_KANA = 0.05  # of the letters: few Japanese sentences have less, and Chinese ones none


def tokenizer_for(references: Sequence[str]) -> str:
    """Returns the name of sacreBLEU's tokenizer for the script that most letters of the references have.

    ``zh`` for Chinese, ``char`` for Japanese (its words need another package), Thai, Lao, Khmer, Burmese and Tibetan,
    ``13a`` for all others.
    """
    text = "".join(references)
    letters, kana, han = (len(script.findall(text)) for script in (_LETTER, _KANA, _HAN))
    others = len(_SOUTHEAST_ASIAN.findall(text))  # their vowel signs are no letters to Python
    if 2 * (kana + han + others) <= letters:
        return "13a"
    return "zh" if han > others and kana < _SOME_KANA * letters else "char"


def tokenizer_of(signature: str) -> str:
    """Returns the name of the tokenizer in a signature: "nrefs:1|tok:zh|..." -> "zh"."""
    return dict(part.split(":", 1) for part in signature.split("|"))["tok"]
