"""Trackio: curves in a local database in the run's folder.

View them with ``TRACKIO_DIR=outputs/RUN/trackio trackio show``.
"""

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, TrackioTracker

from roformer.trackers._base import TRACKERS, Tracker


@TRACKERS.register("trackio")
class Trackio(Tracker):
    """Writes to ``<folder>/trackio/``, in silence and offline. Trackio's own variables override both: ``TRACKIO_DIR``
    for one folder of many runs, ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` for an upload."""

    package = "trackio"

    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> GeneralTracker:
        if not os.environ.get("TRACKIO_DIR"):
            import_into(folder / "trackio")
        hardware = {"auto_log_cpu": False, "auto_log_gpu": False}  # their threads would run during the training
        tracker = TrackioTracker(
            self.project, name=folder.name, resume="allow", embed=False, config=dict(config), **hardware
        )
        with redirect_stdout(io.StringIO()):
            tracker.start()
        return tracker

    def finish(self) -> None:
        if self._started:
            with redirect_stdout(io.StringIO()):
                import_module("trackio").finish()  # after Accelerate's own, trackio would finish it again at exit


def import_into(directory: Path) -> None:
    """Imports trackio with its database in ``directory``.

    It reads the directory from the environment once, when it is imported, so each run of one process (``--multirun``)
    needs an import of its own.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        del sys.modules[name]
    os.environ["TRACKIO_DIR"] = str(directory.absolute())
    try:
        import_module("trackio")
    finally:
        del os.environ["TRACKIO_DIR"]
