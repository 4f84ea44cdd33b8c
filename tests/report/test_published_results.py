"""The tables under docs/results are those of the comparison beside them."""

import json
import re
from pathlib import Path

import pytest

from roformer.report.page import markdown
from roformer.sections import in_page_order
from tests.report.conftest import loaded

RESULTS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/comparison.json"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.parent.name)
def test_tables_are_those_of_the_comparison(file):
    """Catches a figure that somebody typed into a table, and tables that are out of date."""
    assert markdown(loaded(json.loads(file.read_text())), in_page_order()) == (file.parent / "tables.md").read_text()


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.parent.name)
def test_commands_are_anybodys(file):
    """Catches a folder of the machine that a comparison was made on."""
    assert not re.search(r"[=\[,'\"\s](/|~)", json.loads(file.read_text())["origin"]["command"])
