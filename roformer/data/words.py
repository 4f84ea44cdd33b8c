"""The words of a text, and the text of words. A Chinese or Japanese character is a word."""

import re
from collections.abc import Sequence

_CJK = "\u3000-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_IS_CJK = re.compile(f"[{_CJK}]")
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+|\S")


def words_of(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Returns start and exclusive end of each word between two places of a text, in characters: letters and digits,
    or one other character that is not blank."""
    return [match.span() for match in _WORD.finditer(text, start, end)]


def joined(words: Sequence[str]) -> tuple[str, list[int]]:
    """Returns the text of words, and where each of them begins in it. They are joined by blanks, but not between
    Chinese or Japanese characters, nor where each word is one character and one of them is Chinese."""
    by_character = all(len(word) == 1 for word in words) and any(map(_IS_CJK.match, words))
    text, starts = "", []
    for word in words:
        if text and not by_character and not (_IS_CJK.match(text[-1]) and _IS_CJK.match(word)):
            text += " "
        starts.append(len(text))
        text += word
    return text, starts
