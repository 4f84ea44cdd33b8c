"""No tracker: curves are in ``metrics.jsonl`` only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roformer.trackers._base import TRACKERS, Tracker


@TRACKERS.register("none")
class NoTracker(Tracker):
    """Tracks nothing."""

    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> None:
        return None
