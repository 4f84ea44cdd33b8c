"""The README's Python, run as it stands."""

import re

import pytest

from tests.workshop import ROOT, Workshop

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
RUN = "outputs/mlm-docs-rope-seed1"  # what ``python train.py`` leaves
TRANSLATION = "outputs/translation-pairs-rope-seed1"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.getbasetemp() / "workshop")


def test_the_python_of_the_readme_runs(workshop, tmp_path, monkeypatch):
    """Catches an example that has drifted from the code; each may use the names of those before it."""
    assert len(BLOCKS) == 5
    workshop.train(tmp_path / RUN)
    workshop.train(tmp_path / TRANSLATION, task="translation")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "stock" / "config.json").is_file()
