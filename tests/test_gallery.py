"""The page with all encodings is what the code says."""

from roformer import gallery
from roformer.position import POSITION_ENCODINGS


def test_the_page_is_up_to_date():
    """Catches an encoding that the page does not have, and a docstring that has changed since: run the module."""
    text = gallery.PAGE.read_text(encoding="utf-8")
    assert gallery.page() == text
    for name in POSITION_ENCODINGS:
        assert text.count(f"\n## {name}\n") == 1


def test_the_picture_has_every_encoding(tmp_path, monkeypatch):
    """Catches a picture that stops where the grid is full."""
    titles = []
    axes = gallery.plt.Axes
    monkeypatch.setattr(axes, "set_title", lambda self, title, **_: titles.append(title))
    gallery.picture(tmp_path / "encodings.svg")
    assert titles == list(POSITION_ENCODINGS)
    assert (tmp_path / "encodings.svg").stat().st_size > 0
