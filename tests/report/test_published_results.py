"""The tables under docs/results are those of the comparison beside them."""

import json
import re
from pathlib import Path

import pytest

from roformer.report.page import write_report

RESULTS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/comparison.json"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.parent.name)
def test_tables_are_those_of_the_comparison(file, tmp_path):
    """Catches a figure that somebody typed into a table, and tables that are out of date."""
    write_report(json.loads(file.read_text()), tmp_path)
    assert (tmp_path / "tables.md").read_text() == (file.parent / "tables.md").read_text()


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.parent.name)
def test_commands_are_anybodys(file):
    """Catches a folder of the machine that a comparison was made on."""
    assert not re.search(r"[=\[,'\"\s](/|~)", json.loads(file.read_text())["command"])
