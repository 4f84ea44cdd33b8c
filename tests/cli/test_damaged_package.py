"""The commands where the other package of the name ``roformer`` was installed or removed."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.commands import ROOT

THEIRS = "from roformer.configuration_roformer import RoFormerConfig\n"
STATES = {
    "theirs": {"__init__.py": THEIRS, "configuration_roformer.py": "class RoFormerConfig: pass\n"},
    "theirs, which fails with this transformers": {
        "__init__.py": THEIRS,
        "configuration_roformer.py": "import gone\n",
    },
    "theirs was removed": {"__init__.py": None},
    "removed": None,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", ["train", "evaluate", "describe", "predict"])
def test_a_damaged_package_is_one_line_with_the_remedy(tmp_path, command, state):
    """Catches a traceback out of another project's module, and commands that run with half of this one."""
    shutil.copy(ROOT / "roformer_lab.py", tmp_path)
    if STATES[state] is not None:
        shutil.copytree(ROOT / "roformer", tmp_path / "roformer", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in STATES[state].items():
            if text is None:
                (tmp_path / "roformer" / name).unlink()
            else:
                (tmp_path / "roformer" / name).write_text(text)
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import roformer_lab; roformer_lab.{command}()"
    done = subprocess.run(  # without -S the editable installation would be found
        [sys.executable, "-I", "-S", "-c", script], env=os.environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert "pip uninstall roformer roformer-lab && pip install roformer-lab" in done.stderr
    assert (str(tmp_path / "roformer") in done.stderr) == (state != "removed")
