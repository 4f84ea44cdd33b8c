"""The house rules that a machine can check: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "roformer"
FILES = sorted(PACKAGE.rglob("*.py"))
READ_CONFIGS = ("config.py", "cli/")


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

    Among themselves they may: ``blocked`` is ``eager`` in blocks.
    """
    single = {path.stem for path in (PACKAGE / group).glob("*.py")} - {"__init__", "_base"}
    for path in FILES:
        if path.parent.name == group:
            continue
        for module, name in imports(path):
            assert module.removeprefix(f"roformer.{group}.") not in single, name_of(path)
            assert (module, name) not in {(f"roformer.{group}", each) for each in single}, name_of(path)


def test_attention_sees_the_contract_of_positions_only():
    """Catches a backend that asks which encoding it serves."""
    contract = {"ModelShape", "PositionEncoding", "PositionState"}
    for path in (PACKAGE / "attention").glob("*.py"):
        names = {name for module, name in imports(path) if module.startswith("roformer.position")}
        assert names <= contract, name_of(path)
