"""The rules of the code that a machine can check: who imports whom, how long things are, and which words they use."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "roformer"
FILES = sorted(PACKAGE.rglob("*.py"))
READ_CONFIGS = ("config.py", "cli/")
WORDS = {  # what no text of this project says -> what it says instead
    "optimiser": "optimizer",
    "colour": "color",
    "licence": "license",
    "behaviour": "behavior",
    "(?<!tests/)neighbour": "neighbor",
    "favour": "favor",
    "honour": "honor",
    "judgement": "judgment",
    r"\w*(al|ar|gn|an)is(ed|es|ing|ation)\b": "... ize",
    "over RoPE's": "vs. RoPE, with the unit of the ratio",
    "stretched by": "... context extension",
    "what learns soonest": "sample efficiency",
    "stands? out of the seeds": "exceeds seed variance",
    "(nats|bits) a (token|word)": "... per ...",
    "a line each": "one line per ...",
    "going on from": "resuming from",
    "to go on": "to resume",
    "nearer to a third": "text-triplet matching",
    "settle it": "full comparison",
    "we had none": "untested",
    "is (now )?told": "is reported",
    "tells? .{0,30}(apart|from)": "distinguish",
    r"beside\b": "next to, compared with, in addition to",
    "guess": "baseline",
    "left out": "skipped, omitted",
    "labelled": "labeled",
    "rivals?": "baseline",
    "alike": "equally, similar",
    "wanted": "requested, target",
    "further": "additional, larger",
    "[a-z]+s? less RoPE": "minus, vs. RoPE",
    "(row|line|dot|column|file) (a|an) (layer|head|seed|run|encoding)": "one ... per ...",
}
PROSE = [
    *(path for path in FILES if path.name not in {"renamed.py", "labeled.py"}),  # they hold old names
    *(path for folder in ("benchmarks", "examples", "tools") for path in ROOT.glob(f"{folder}/**/*.py")),
    *ROOT.glob("conf/**/*.yaml"),
    *ROOT.glob("roformer/**/*.jinja"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md")),
    *(path for path in ROOT.glob("docs/**/*.md") if path.name != "glossary.md"),
]


def imports(path):
    """Yields (module, name or None) for every import in a file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def run(*command):
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_arrows_point_from_user_to_used():
    """Catches an import against the flow that pyproject.toml states (import-linter)."""
    result = run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_hydra_stops_at_the_entrance(path):
    """Catches a DictConfig on its way into the package: below config.py there are only typed settings."""
    found = {module.split(".")[0] for module, _ in imports(path)} & {"hydra", "omegaconf"}
    assert not found or name_of(path).startswith(READ_CONFIGS)


@pytest.mark.parametrize("group", ["position", "attention"])
def test_choices_are_made_by_name(group):
    """Catches code that imports one encoding or backend, so that adding another would mean editing it.

    Among themselves they may: ``blocked`` is ``eager`` in blocks. So may the public names of the package.
    """
    single = {path.stem for path in (PACKAGE / group).glob("*.py")} - {"__init__", "_base"}
    for path in FILES:
        if path.parent.name == group or path == PACKAGE / "__init__.py":
            continue
        for module, name in imports(path):
            assert module.removeprefix(f"roformer.{group}.") not in single, name_of(path)
            assert (module, name) not in {(f"roformer.{group}", each) for each in single}, name_of(path)


def test_attention_sees_the_contract_of_positions_only():
    """Catches a backend that asks which encoding it serves; the registry is for messages that list those that fit."""
    contract = {"POSITION_ENCODINGS", "ModelShape", "PositionEncoding", "PositionState"}
    for path in (PACKAGE / "attention").glob("*.py"):
        names = {name for module, name in imports(path) if module.startswith("roformer.position")}
        assert names <= contract, name_of(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_modules_are_imported_by_their_package_only(path):
    """Catches a part of the project that builds on what another one may change at will."""
    package = ["roformer", *path.relative_to(PACKAGE).parts[:-1]]
    for module, name in imports(path):
        parts = [*module.split("."), *([name] if name else [])]
        private = [i for i, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
        if parts[0] == "roformer" and private:
            assert parts[: private[0]] == package, f"{module} {name}"


def is_long(function):
    """Whether it has more than 50 lines, its docstring apart, or is a constructor of more than ten arguments."""
    first, documented = function.body[0], ast.get_docstring(function, clean=False) is not None
    lines = function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)
    arguments = [*function.args.args[1:], *function.args.kwonlyargs]
    return lines > 50 or (function.name == "__init__" and len(arguments) > 10)


def test_budget_of_files():
    """Catches a file that grows beyond what one reads at once."""
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name for name, count in lines.items() if count > 300}


def test_budget_of_functions():
    """Catches a function that does more than one thing."""
    found = set()
    for path in FILES:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        defined = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        found |= {f"{name_of(path)}:{function.name}" for function in defined if is_long(function)}
    assert not found


@pytest.mark.parametrize("word", WORDS)
def test_words(word):
    """Catches the private dialect that this project once was written in."""
    found = [path for path in PROSE if re.search(rf"\b{word}", path.read_text(encoding="utf-8"), re.IGNORECASE)]
    assert not found, f"write '{WORDS[word]}'"
