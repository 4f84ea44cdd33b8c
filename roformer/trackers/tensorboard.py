"""TensorBoard: event files in the run's folder. View them with ``tensorboard --logdir outputs``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from accelerate.tracking import GeneralTracker, TensorBoardTracker

from roformer.trackers._base import TRACKERS, Tracker


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Writes to ``<folder>/<project>/``."""

    package = "tensorboard"

    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> GeneralTracker:
        tracker = TensorBoardTracker(self.project, folder, purge_step=self.next_step)
        tracker.start()
        tracker.store_init_configuration({"config": yaml.safe_dump(dict(config))})  # it takes no nested settings
        return tracker
