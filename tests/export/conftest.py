"""A finished run, and the command that exports it."""

import shutil
import sys

import pytest

from roformer.export import __main__ as command
from tests.commands import ROOT

FINISHED = ROOT / "tests/fixtures/runs_af2503a/finished"


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run."""
    return shutil.copytree(FINISHED, tmp_path / "run")


@pytest.fixture
def export(monkeypatch, capsys):
    """Calls the command; returns what it prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
        command.main()
        return capsys.readouterr()

    return call
