"""The wheel, installed outside the repository, with the packages of some extras and no others. No network."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution

import numpy as np
import pytest
from packaging.requirements import Requirement

from roformer.extras import EXTRA_OF
from tests.commands import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no build folder of the checkout can add to it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("roformer", "conf"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "roformer_lab.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    command = ["-m", "pip", "wheel", source, "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, *command, "--wheel-dir", built], check=True)
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def install(wheel, tmp_path_factory):
    """Makes an environment with the wheel and its requirements with these extras; returns the folder of scripts."""
    environments = {}

    def make(*extras):
        if extras not in environments:
            folder = tmp_path_factory.mktemp("environment")
            venv.create(folder, with_pip=False, symlinks=True)
            (packages,) = folder.glob("lib/python*/site-packages")
            pip = ["-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index", "--no-deps"]
            subprocess.run([sys.executable, *pip, wheel], check=True)
            (metadata,) = packages.glob("roformer_lab-*.dist-info")
            for requirement in requirements(PathDistribution(metadata), extras):
                link(distribution(requirement), packages)
            environments[extras] = folder / "bin"
        return environments[extras]

    return make


def requirements(installed: Distribution, extras, known=()) -> set[str]:
    """Returns the names of all distributions that one requires, with these extras, and that those require."""
    names = set(known)
    for each in map(Requirement, installed.requires or ()):
        needed = each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if needed and each.name not in names:
            with suppress(PackageNotFoundError):  # such as the parts of CUDA, where torch is built for CPUs
                names |= requirements(distribution(each.name), each.extras, {*names, each.name})
    return names


def link(installed, packages):
    for name in {file.parts[0] for file in installed.files if file.parts[0] != ".."} - {"__pycache__"}:
        if not (packages / name).exists():
            (packages / name).symlink_to(installed.locate_file(name))


@pytest.fixture
def shell(install, tmp_path):
    """Runs a script of an environment in an empty folder; returns the finished process."""

    def run(extras, script, *arguments):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [install(*extras) / script, *map(str, arguments)]
        environment = {**environment, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_wheel_holds_every_file(wheel):
    """Catches a template, a yaml file or the marker of types that is left behind."""
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for folder in ("roformer", "conf") for path in (ROOT / folder).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {f"roformer/{name}" if name.startswith("conf/") else name for name in expected} <= held
    assert not any(name.startswith(("conf/", "tests/", "tools/", "benchmarks/")) for name in held)


def test_commands_work_in_an_empty_folder(shell, tmp_path):
    """Catches a command that needs the checkout, or a package that no default of it uses."""
    small = ("data.packages=[rich,accelerate,wandb]", "tokenizer.vocab_size=2000", "task.sequence_length=32")
    settings = (*small, "trainer.max_steps=2", "tracker=none", "trainer.precision=fp32", "attention=sdpa")
    done = shell((), "roformer-train", *settings)
    assert done.returncode == 0, done.stderr
    assert "data.packages: skipping wandb: not installed" in done.stderr
    (run,) = (tmp_path / "outputs").iterdir()
    provenance = (run / "provenance.json").read_text()
    assert '"command": "roformer-train ' in provenance
    assert '"git_commit": null' in provenance
    load = f"import roformer, transformers as t; t.AutoModelForMaskedLM.from_pretrained('{run}/export')"
    loaded = shell((), "python", "-c", load)
    assert loaded.returncode == 0, loaded.stderr
    described = shell((), "roformer-describe", *small)
    assert "tokens per document" in described.stdout, described.stderr
    (tmp_path / "texts.txt").write_text("a text\nanother one\n")
    encoded = shell((), "roformer-predict", run, "texts.txt", "--encode", "--output", "vectors.npy")
    assert encoded.returncode == 0, encoded.stderr
    assert len(np.load(tmp_path / "vectors.npy")) == 2

    evaluated = shell((), "roformer-evaluate", f"runs={run}")
    assert (evaluated.returncode, evaluated.stderr.count("\n")) == (1, 1), evaluated.stderr
    assert "pip install 'roformer-lab[report]'" in evaluated.stderr
    evaluated = shell(("report",), "roformer-evaluate", f"runs={run}", "length_factors=[1]")
    assert evaluated.returncode == 0, evaluated.stderr


def test_a_recipe_of_the_paper_is_tried_in_an_empty_folder(shell, tmp_path):
    """Catches a smoke test that needs the checkout, or the packages for a download that it does not make."""
    done = shell((), "roformer-train", "experiment=paper/mlm", "debug=smoke", "trainer.precision=fp32")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/smoke/*/export/config.json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["tracker=wandb"], "tracking"),
        (["tracker=tensorboard"], "tracking"),
        (["data=hub", "data.dataset=some/text"], "hub"),
        (["data=text", "data.path=texts.parquet"], "tables"),
        (["data=text", "data.path=texts.txt", "tokenizer=words"], "chinese"),
        (["experiment=paper/chinese/stage1", "debug=smoke"], "chinese"),
        (["data=text", "data.path=texts.txt", "task=classification"], "report"),
        (["data=text", "data.path=texts.txt", "task=regression"], "report"),
    ],
)
def test_missing_packages_are_named(shell, tmp_path, arguments, extra):
    """Catches a traceback, or hours of training before it."""
    for suffix in ("parquet", "txt"):
        (tmp_path / f"texts.{suffix}").write_text("text\nsome text\n\nanother text\n")
    done = shell((), "roformer-train", "tracker=none", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert f"pip install 'roformer-lab[{extra}]'" in done.stderr


def test_extras_hold_what_is_said_to_be_missing(wheel, tmp_path):
    """Catches an error message that names an extra without the package."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (metadata,) = tmp_path.glob("*.dist-info")
    optional = [Requirement(line) for line in PathDistribution(metadata).requires]
    for package, extra in EXTRA_OF.items():
        name = {"sklearn": "scikit-learn"}.get(package, package)
        (requirement,) = (each for each in optional if each.name == name)
        assert requirement.marker.evaluate({"extra": extra}), package
        assert not requirement.marker.evaluate({"extra": ""}), package
