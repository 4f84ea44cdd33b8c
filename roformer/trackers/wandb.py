"""Weights & Biases: online where it finds a key, else offline, with its files in the run's folder."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, WandBTracker

from roformer.errors import one_line
from roformer.trackers._base import TRACKERS, Tracker

_CONNECT_SECONDS = 20


@TRACKERS.register("wandb")
class WandB(Tracker):
    """Writes to ``<folder>/wandb/``, in silence, and uploads if there is a key. ``WANDB_MODE`` overrides that."""

    package = "wandb"

    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> GeneralTracker:
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
        try:
            return self._open(folder, run_id, config, mode)
        except Exception as error:
            if mode == "offline":
                raise
            # a wrong key or a missing network is no reason not to train
            print(f"wandb cannot be reached ({one_line(error)}); its files stay in the run's folder")
            import_module("wandb").teardown()  # its service would hold the run's id
            return self._open(folder, run_id, config, "offline")

    def _open(self, folder: Path, run_id: str, config: Mapping[str, Any], mode: str) -> GeneralTracker:
        settings = {"silent": True, "console": "off", "init_timeout": _CONNECT_SECONDS}
        tracker = WandBTracker(
            self.project, dir=str(folder), name=folder.name, id=run_id, resume="allow", mode=mode, settings=settings
        )
        tracker.start()
        tracker.store_init_configuration(dict(config))
        return tracker


def has_key() -> bool:
    """Returns whether the user has given wandb a key, in the environment or by ``wandb login``."""
    netrc = Path.home() / (".netrc" if os.name != "nt" else "_netrc")
    stored = netrc.is_file() and "api.wandb.ai" in netrc.read_text(encoding="utf-8", errors="replace")
    return bool(os.environ.get("WANDB_API_KEY")) or stored
