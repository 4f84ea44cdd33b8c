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
WHOLE_FILES = (*(f"tests/test_{name}.py" for name in ("architecture", "configs", "readme", "registry")), "tests/tools")
NEW_CHOICES = ("-k", "toy or not test_each_choice_can_be_made_and_built")  # the others are as they were


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


@pytest.fixture(scope="module", autouse=True)
def _no_coverage_of_the_copy():
    """Else the report would list its files as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


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
            (copy / file).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / "tests" / "additions" / addition / file, copy / file)
    python(copy, "-m", "tools.pages")
    return copy


@pytest.mark.parametrize("addition", ADDITIONS)
def test_an_addition_is_two_files(addition):
    """Catches an addition that needs a third file: a list somewhere that has to name it."""
    assert len(ADDITIONS[addition]) == 2


def test_generated_pages_show_the_additions(copy):
    """Catches a page of the documentation that lists choices by hand."""
    assert "\n## toy\n" in (copy / "docs" / "encodings.md").read_text()
    settings = (copy / "docs" / "configuration.md").read_text()
    for file in (file for files in ADDITIONS.values() for file in files if file.suffix == ".yaml"):
        assert f"\n### {file.parent.name}={file.stem}\n" in settings


def test_the_site_of_the_copy_shows_the_additions(copy):
    """Catches a documentation that an addition breaks, or is missing from."""
    python(copy, "-c", "from zensical.main import cli; cli()", "build", "--clean", "--strict")
    assert '<h2 id="toy">' in (copy / "site" / "encodings.html").read_text()


@pytest.mark.parametrize("chosen", [("tests", "-k", "toy"), (*WHOLE_FILES, *NEW_CHOICES)], ids=["its own", "of all"])
def test_the_suite_of_the_copy_passes(copy, chosen):
    """Catches a test that names choices one by one, so that whoever adds one has to edit it."""
    quick = ("-m", "not slow and not full and not long")
    pytest_here = ("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *quick)
    output = python(copy, *pytest_here, *chosen)
    assert int(output.splitlines()[-1].split()[0]) > 50, output[-500:]  # so many passed


def test_a_run_of_additions_only_reaches_the_page(copy, tmp_path):
    """Catches a training, an evaluation or a report that knows choices by name."""
    tiny_runs, commands = TinyRuns(tmp_path / "tiny_runs"), Commands(tmp_path, root=copy)
    toys = [f"{group}=toy" for group in ("attention", "data", "optimizer", "scheduler", "tokenizer", "tracker")]
    try:
        for position in ("toy", "rope"):
            folder = f"paths.output_dir={tmp_path}/runs/{position}"
            chosen = (*toys, f"position={position}", "trainer.max_steps=4", folder)
            trained = commands.run("train.py", *tiny_runs.overrides(*chosen, task="toy_lm"))
            assert trained.status == 0, trained.error_lines
        evaluated = commands.run("evaluate.py", f"runs={tmp_path}/runs/*", "length_factors=[1,2]")
        assert evaluated.status == 0, evaluated.error_lines
    finally:
        commands.close()
    run, page = tmp_path / "runs" / "toy", (tmp_path / "runs" / "report" / "index.html").read_text()
    exported = json.loads((run / "export" / "config.json").read_text())
    assert (exported["position"], exported["attention_backend"]) == ({"name": "toy", "slope": 0.2}, "toy")
    assert [line.split()[0] for line in (run / "roformer.txt").read_text().splitlines()] == ["1", "2", "3", "4"]
    assert all(word in page for word in (">toy<", "Backward LM", "Toy table", "Toy figure"))
