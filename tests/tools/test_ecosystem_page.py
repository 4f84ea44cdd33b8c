"""The page about neighbors: its versions are those that CI installs, its tests and modules exist."""

import re

import pytest

from tests.documentation import ROOT

PAGE = (ROOT / "docs/ecosystem.md").read_text(encoding="utf-8")
NEIGHBORS = re.findall(r"^\| ([\w .-]+) \| ([\d.]+) \| .* \| (tests/\S+) \|$", PAGE, re.MULTILINE)
PINS = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
DISTRIBUTIONS = {"lm-eval": "lm_eval", "ONNX Runtime": "onnxruntime"}


@pytest.mark.parametrize(("library", "version", "test"), NEIGHBORS, ids=lambda value: value)
def test_version_and_test_are_those_of_ci(library, version, test):
    """Catches a table that stays behind an update, and a test that was moved."""
    assert PINS[DISTRIBUTIONS.get(library, library.lower())] == version
    assert (ROOT / test).is_file()


def test_every_test_of_a_neighbor_is_on_the_page():
    """Catches a neighbor that is tried and not listed, and a table that the pattern above no longer reads."""
    tests = {path.name for path in (ROOT / "tests/neighbours").glob("test_*.py")}
    assert tests <= {test.rpartition("/")[2] for *_, test in NEIGHBORS}


def test_modules_that_are_written_by_hand_exist():
    """Catches a reason for code that is gone."""
    modules = re.findall(r"`(roformer/[\w/]+\.py)`", PAGE)
    assert modules
    assert all((ROOT / module).is_file() for module in modules)
