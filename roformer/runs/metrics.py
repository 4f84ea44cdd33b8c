"""``metrics.jsonl``: one JSON object per logged step."""

import json
from pathlib import Path


class MetricsFile:
    """Appends lines as they happen.

    Args:
        file: where it lies.
        resumed_at: step of the checkpoint that the run continues from; later lines are dropped, since those steps are
            trained and logged again.
    """

    def __init__(self, file: Path, *, resumed_at: int) -> None:
        self.file = file
        kept = [line for line in read_metrics(file) if line["step"] <= resumed_at]
        file.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, line: dict[str, float]) -> None:
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


def read_metrics(file: Path) -> list[dict[str, float]]:
    """Returns the lines, none where there is no file; a last line that a crash cut short is dropped."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
