"""The page with all encodings is what the code says."""

from roformer.position import POSITION_ENCODINGS
from tools import encodings_page


def test_the_page_is_up_to_date():
    """Catches an encoding that the page does not have, and a docstring that has changed since: run the module."""
    text = encodings_page.PAGE.read_text(encoding="utf-8")
    assert encodings_page.page() == text
    for name in POSITION_ENCODINGS:
        assert text.count(f"\n## {name}\n") == 1


def test_the_picture_has_every_encoding(tmp_path, monkeypatch):
    """Catches a picture that stops where the grid is full."""
    titles = []
    axes = encodings_page.plt.Axes
    monkeypatch.setattr(axes, "set_title", lambda self, title, **_: titles.append(title))
    encodings_page.picture(tmp_path / "encodings.svg")
    assert titles == list(POSITION_ENCODINGS)
    assert (tmp_path / "encodings.svg").stat().st_size > 0
