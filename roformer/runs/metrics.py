"""``metrics.jsonl``: one JSON object per logged step, appended as they happen.

A run that resumes logs the steps after its checkpoint again, so a step may have several lines; the last one counts.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roformer.io import append_line

Line = dict[str, float]
"""Metrics of the steps since the line before, under their names, and ``step``."""


def append_metrics(file: Path, line: Line) -> None:
    """Adds a line, which is on disk when this returns."""
    append_line(file, json.dumps(line, allow_nan=False))


def read_metrics(file: Path) -> list[Line]:
    """Returns the line of each step, by rising step; none where there is no file. What cannot be read is skipped."""
    return sorted(_readable(file).values(), key=lambda line: line["step"])


def check_metrics(file: Path, expected: Iterable[int]) -> str | None:
    """Says which steps have no line, or none that can be read; None where all have one.

    Args:
        file: which need not exist.
        expected: steps that were logged.
    """
    missing = sorted(set(expected) - _readable(file).keys())
    if not missing:
        return None
    listed = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
    return f"{file} has no readable line of {len(missing)} logged steps ({listed}); reports will not show them"


def _readable(file: Path) -> dict[int, Line]:
    lines: dict[int, Line] = {}
    for raw in file.read_bytes().splitlines() if file.is_file() else []:
        try:
            line: Any = json.loads(raw)
        except ValueError:  # also of bytes that are no UTF-8
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int) and all(map(_is_number, line.values())):
            lines[line["step"]] = line
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
