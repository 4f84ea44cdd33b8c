"""Characters that the font of the figures does not have, such as Chinese class names.

SVG files name a font, and their readers take another one for what it lacks. A PNG needs a font of this machine.
"""

from collections.abc import Set
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

FONT = "DejaVu Sans"
"""Comes with matplotlib: the same widths, hence the same file, on every machine."""

_BOXES = "Last Resort"  # comes with matplotlib, too: a box for every character


def add_fallback(figure: Figure) -> Set[str]:
    """Gives a figure a second font for what ``FONT`` lacks, if one is installed.

    Returns:
        the characters that no font was found for.
    """
    texts = figure.findobj(Text)
    missing = frozenset(character for text in texts for character in text.get_text() if character.isprintable())
    missing -= _characters(findfont(FONT))
    if not missing:
        return missing
    if (font := _font_with(missing)) is None:
        return missing
    for text in texts:
        text.set_fontfamily([FONT, font])
    return frozenset()


@cache
def _characters(file: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(file).get_charmap()))


@cache
def _font_with(characters: frozenset[str]) -> str | None:
    """Returns the name of an installed font that has all of them."""
    real = (font for font in fontManager.ttflist if not font.name.startswith(_BOXES))
    fonts = sorted(real, key=lambda font: (font.style != "normal", font.weight not in (400, "normal"), font.fname))
    return next((font.name for font in fonts if characters <= _characters(font.fname)), None)
