"""A text file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from roformer.trackers._base import TRACKERS, Tracker


class TextFile(GeneralTracker):
    """Appends a line for each step."""

    name = "toy"
    requires_logging_directory = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def tracker(self) -> Path:
        return self.path

    def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{step} {values}\n")


@TRACKERS.register("toy")
class TextTracker(Tracker):
    """Writes to ``<folder>/<project>.txt``."""

    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> GeneralTracker:
        return TextFile(folder / f"{self.project}.txt")
