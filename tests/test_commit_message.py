"""The check of commit messages that pre-commit runs."""

import subprocess

import pytest

from tests.commands import ROOT


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("attention: refuse xPos in FAVOR+\n\nIts norms change.\n", 0),
        ("position, attention: rename hooks", 0),
        ("Merge branch 'main'", 0),
        ("docs: " + "x" * 66 + "\n", 0),
        ("docs: " + "x" * 67 + "\n", 1),
        ("After a newcomer's try\n", 1),
        ("docs: say why\nno blank line\n", 1),
    ],
)
def test_subjects_are_short_and_name_an_area(tmp_path, message, status):
    """Catches a check that lets a long subject pass, or refuses what git writes itself."""
    (tmp_path / "message").write_text(message)
    checked = subprocess.run(
        [ROOT / ".ci" / "check-commit-message", tmp_path / "message"], capture_output=True, text=True
    )
    assert checked.returncode == status, checked.stdout
    assert checked.stdout.count("\n") == status
