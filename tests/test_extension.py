"""The promise that each new choice is two files and no edit, kept on a copy of the whole repository.

Each folder of tests/additions is one addition, whose files lie where they go in the repository.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.commands import ENVIRONMENT, ROOT, Commands
from tests.tiny_runs import TinyRuns

pytestmark = pytest.mark.slow

ADDITIONS = {
    folder.name: sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix in (".py", ".yaml"))
    for folder in sorted((ROOT / "tests" / "additions").iterdir())
}
FULL_FILES = ("tests/test_architecture.py", "tests/test_configs.py", "tests/test_registry.py", "tests/tools")


def python(copy, *arguments):
    """Runs ``python arguments...`` in the copy; returns its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with all additions, and with its generated pages made anew."""
    copy = tmp_path_factory.mktemp("copy") / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # not one that is deleted and not yet committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for addition, files in ADDITIONS.items():
        for file in files:
            assert not (copy / file).exists(), "an addition edits nothing"
            shutil.copy(ROOT / "tests" / "additions" / addition / file, copy / file)
    python(copy, "-m", "tools.encodings_page")
    return copy


@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_is_two_files(addition):
    """Catches an addition that needs a third file: a list somewhere that has to name it."""
    assert len(ADDITIONS[addition]) == 2


def test_generated_pages_show_the_additions(copy):
    """Catches a page of the documentation that lists choices by hand."""
    assert "\n## toy\n" in (copy / "docs" / "encodings.md").read_text()


@pytest.mark.parametrize("chosen", [("tests", "-k", "toy"), FULL_FILES], ids=["its own", "of all"])
def test_the_suite_of_the_copy_passes(copy, chosen):
    """Catches a test that names choices one by one, so that whoever adds one has to edit it."""
    pytest_here = ("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not slow and not full")
    output = python(copy, *pytest_here, *chosen)
    assert int(output.splitlines()[-1].split()[0]) > 50, output[-500:]  # so many passed


def test_the_page_shows_the_additions(copy, tmp_path):
    """Catches a training, an evaluation or a report that knows choices by name."""
    tiny_runs, commands = TinyRuns(tmp_path / "tiny_runs"), Commands(tmp_path, root=copy)
    try:
        for position in ("toy", "rope"):
            folder = f"paths.output_dir={tmp_path}/runs/{position}"
            chosen = (f"position={position}", "attention=toy", "trainer.max_steps=4", folder)
            trained = commands.run("train.py", *tiny_runs.overrides(*chosen))
            assert trained.status == 0, trained.error_lines
        evaluated = commands.run("evaluate.py", f"runs={tmp_path}/runs/*", "length_factors=[1,2]")
        assert evaluated.status == 0, evaluated.error_lines
    finally:
        commands.close()
    stored = json.loads((tmp_path / "runs" / "toy" / "export" / "config.json").read_text())
    assert stored["position"] == {"name": "toy", "slope": 0.2}
    assert stored["attention_backend"] == "toy"
    assert ">toy<" in (tmp_path / "runs" / "report" / "index.html").read_text()
