"""The generated pages: complete, with the comments of the yaml they are made of, and links that survive a copy."""

import textwrap

import pytest
import yaml

from tests.documentation import ROOT
from tools import configuration_page, copied_pages, headline, messages_page, recipes_page


def test_every_setting_is_on_the_page():
    """Catches a nested setting that is missing, and a list over several lines that loses its value."""
    text = configuration_page.page()
    for file in (ROOT / "conf").glob("*/*.yaml"):
        if file.parent.name == "experiment":
            continue
        assert f"### {file.parent.name}={file.stem}\n" in text
        rows = configuration_page.settings_table(file)
        content = yaml.safe_load(file.read_text()) or {}
        for key in set(content) - {"defaults", "hydra"}:
            assert f"| `{key}" in rows, (file, key)
    assert "`[stdlib, torch," in text


def test_comments_and_nested_settings(tmp_path):
    """Catches a comment in the wrong row, and a sign in a value that is taken for one."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "# above\nmodel:\n  size: 2 # of | all\npath: 'a # b' # c\nwords: # d\n  [a,\n  b]\ndefaults:\n  - x: y\n"
    )
    rows = configuration_page.settings_table(file).splitlines()[2:]
    assert rows == [r"| `model.size` | `2` | of \| all |", "| `path` | `'a # b'` | c |", "| `words` | `[a, b]` | d |"]


def test_a_new_group_needs_a_description(tmp_path, monkeypatch):
    """Catches a group of conf that the page leaves out."""
    monkeypatch.setattr(configuration_page, "CONF", tmp_path)
    (tmp_path / "speed").mkdir()
    with pytest.raises(ValueError, match="speed"):
        configuration_page.page()


def test_every_recipe_is_on_the_page_with_its_commands():
    """Catches a recipe, a command or a sweep that is omitted."""
    text = recipes_page.page()
    for file in (ROOT / "conf/experiment").rglob("*.yaml"):
        name = file.relative_to(ROOT / "conf/experiment").with_suffix("").as_posix()
        assert f"\n## {name}\n" in text
        for line in file.read_text().splitlines():
            if line.startswith("#   python"):
                assert line[1:].strip() in text
    assert "`seed=range(1,6)`" in text


def test_links_of_a_copy(tmp_path, monkeypatch):
    """Catches links that are right in the repository and dead on the site."""
    monkeypatch.setattr(copied_pages, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    text = "[a](../docs/guide/x.md#y) [b](../README.md) [c](../LICENSE) ![d](../docs/e.svg) [f](https://g)"
    (tmp_path / "data/README.md").write_text(text)
    expected = "[a](guide/x.md#y) [b](index.md) c ![d](e.svg) [f](https://g)"
    assert copied_pages.copied("data/README.md") == expected


def test_a_row_of_the_headline_can_be_read_across():
    """Catches a change between different tokens: RoPE's published losses at 1x, 2x, 4x and 16x are 3.651, 3.679, 3.868
    and 6.848 on long documents."""
    rows = {row.split(" | ")[0].strip("| "): row for row in headline.table().splitlines()[2:]}
    assert "| 3.651 | +0.03 ± 0.01 | +0.22 ± 0.10 | +3.20 ± 0.13 |" in rows["RoPE"]
    assert "| 3.651 | +0.02 ± 0.01 | +0.05 ± 0.01 | +0.43 ± 0.04 |" in rows["RoPE with YaRN"]
    assert "+0.15 [+0.06, +0.24]" in rows["Shaw"]
    assert len(rows) == 9


def test_the_figure_has_every_encoding():
    """Catches an encoding without a line in one of the two halves."""
    for axes, lines in zip(headline.figure().axes, (8, 9), strict=True):
        assert len({text.get_text() for text in axes.texts}) == lines


def test_messages_are_found_as_they_are_read():
    """Catches a message that is omitted because it is put together, or raised as another class."""
    source = """
        raise UserError("plain")
        raise UserError(f"data.path={path} has {len(rows):,} rows{did_you_mean(x, y)}; " + FIX)
        raise OtherError(error)
        raise OtherError(f"{error} at step {self.step}")
        raise ValueError("not for users, this one")
    """
    found = list(messages_page.messages(textwrap.dedent(source), {"UserError", "OtherError"}))
    assert found == ["data.path=<path> has <rows> rows; <FIX>", "<error> at step <step>"]
    assert "- `seed must lie in [0, 2^63), got <seed>`" in messages_page.page()


def test_messages_of_the_translator_are_found():
    """Catches the words for a full disk, or for a mistake on the command line, that the page omits."""
    source = """
        def line(error):
            if error.is_hint:
                return f"; did you mean {error.name}, or that?"
            return f"cannot read {error.name}: give a file"
    """
    assert list(messages_page.returned(textwrap.dedent(source))) == ["cannot read <name>: give a file"]
    assert "out of memory; set trainer.auto_batch=true" in messages_page.page()
