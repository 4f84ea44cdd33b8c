"""Writes the table of the long tests into docs/reliability.md, from the record that they keep."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RECORD = ROOT / "docs" / "reliability.md", ROOT / "docs" / "reliability.json"
_BETWEEN = re.compile(r"(<!-- long tests: written by make docs -->\n).*?(<!-- end -->\n)", re.DOTALL)
_ORIGIN = ("date", "commit", "cpu", "torch")


def page() -> str:
    """Returns the page with the table of today's record."""
    return _BETWEEN.sub(lambda match: f"{match[1]}\n{table()}\n\n{match[2]}", PAGE.read_text(encoding="utf-8"))


def table() -> str:
    """Returns one row per long test: what was done, how often, what happened, and with which commit."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = ["| fault | how often, and what happened | commit |", "|---|---|---|"]
    for fault, entry in record.items():
        counts = ", ".join(f"{key.replace('_', ' ')} {n:,}" for key, n in entry.items() if key not in _ORIGIN)
        rows.append(f"| {fault} | {counts} | `{entry['commit']}` |")
    machines = sorted({f"{entry['cpu']}, torch {entry['torch']}" for entry in record.values()})
    return "\n".join([*rows, "", f"Measured on: {'; '.join(machines)}."])
