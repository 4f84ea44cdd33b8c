"""Names in other scripts than the font of the figures has."""

import warnings

import numpy as np
import pytest
from matplotlib.font_manager import fontManager

from roformer.report import fonts
from roformer.report.canvas import shorten, text_width, to_inline_svg, to_png, to_svg
from roformer.sections.confusion import Summary, matrix
from tests.report.test_page import written

CHINESE = ("亲子儿童", "公共交通", "工具")
INSTALLED = "\u1d81"  # a letter that DejaVu Sans lacks, and STIXGeneral, which comes with matplotlib, has


def drawn(names, width=864):
    counts = np.diag(np.arange(1, len(names) + 1)).tolist()
    return matrix(Summary(encoding="rope", names=list(names), counts=counts, seeds=1), width)


@pytest.fixture
def only(monkeypatch):
    """Lets just the named fonts be installed."""

    def call(*names):
        monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if font.name in names])
        fonts._font_with.cache_clear()

    yield call
    fonts._font_with.cache_clear()


def test_no_file_warns_of_each_character(only):
    """Catches 120 lines of warnings before the report of a Chinese classifier."""
    only("DejaVu Sans", "Last Resort High-Efficiency")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(CHINESE)
        svgs = to_svg(figure, name="a"), to_inline_svg(figure, name="a", title="a", description="a")
        assert fonts.add_fallback(figure) == {*"".join(CHINESE)}
        to_png(figure)
    assert all(name in svg for name in CHINESE for svg in svgs)


def test_an_installed_font_draws_what_the_first_one_lacks(only):
    """Catches boxes in PNG files although a font is there, and files that differ where none is needed."""
    figure = drawn([INSTALLED, "b"])
    boxes = to_png(figure)
    only("DejaVu Sans", "Last Resort High-Efficiency", "STIXGeneral")
    assert fonts.add_fallback(figure) == set()
    assert to_png(figure) != boxes
    plain, same = drawn(["a", "b"]), drawn(["a", "b"])
    fonts.add_fallback(plain)
    assert to_png(plain) == to_png(same)


def test_the_report_says_once_which_characters_are_boxes(only, comparison, tmp_path, monkeypatch, capsys):
    """Catches boxes without a word, and a line for each figure."""
    monkeypatch.setattr(fonts, "add_fallback", lambda figure: {*"视频"})
    written(comparison, tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: no installed font has 视频: boxes stand for them in figures/*.png")


def test_wide_names_have_their_room():
    """Catches an axis whose title lies outside of the picture, since a Chinese character is as wide as two letters."""
    assert text_width(["视频"], 864) == text_width(["abcd"], 864)
    assert [shorten(name) for name in ("视" * 12, "视" * 13, "a" * 24, "a" * 25)] == [
        "视" * 12,
        "视" * 11 + "…",
        "a" * 24,
        "a" * 23 + "…",
    ]
