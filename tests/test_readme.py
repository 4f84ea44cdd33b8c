"""The README's Python, run as it stands."""

import re

import pytest

from tests.tiny_runs import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
RUN = "outputs/mlm-docs-rope-seed1"  # what ``python train.py`` leaves
TRANSLATION = "outputs/translation-pairs-rope-seed1"


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tiny_runs, tmp_path, monkeypatch):
    """Catches an example that has drifted from the code; each may use the names of those before it."""
    assert len(BLOCKS) == 5
    tiny_runs.train(tmp_path / RUN)
    tiny_runs.train(tmp_path / TRANSLATION, task="translation")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "stock" / "config.json").is_file()
