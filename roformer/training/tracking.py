"""The experiment tracker beside ``metrics.jsonl``, through Accelerate."""

import hashlib
import os
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator

from roformer.config import TrackerConfig, TrainConfig
from roformer.errors import UserError
from roformer.extras import require
from roformer.runs import RunFolder

_NEEDS = {"wandb": "wandb", "tensorboard": "tensorboard", "none": None}


def check_tracker(config: TrackerConfig) -> str | None:
    """Returns Accelerate's name of the tracker, or None for none.

    Raises:
        UserError: if the tracker is unknown or its package is not installed.
    """
    if config.name not in _NEEDS:
        raise UserError(f"tracker.name: unknown '{config.name}' (available: {', '.join(_NEEDS)})")
    package = _NEEDS[config.name]
    if package:
        require(package, f"tracker={config.name}", otherwise="tracker=none")
    return package


def start_tracker(accelerator: Accelerator, config: TrainConfig) -> None:
    """Starts the tracker; wandb works offline and in silence where it finds no key."""
    settings: dict[str, Any] = {}
    if config.tracker.name == "wandb":
        settings["wandb"] = {
            "dir": str(config.output_dir),
            "name": config.output_dir.name,
            "id": _run_id(config.output_dir),
            "resume": "allow",
            "mode": os.environ.get("WANDB_MODE") or ("online" if _wandb_key() else "offline"),
            "settings": {"silent": True, "console": "off", "init_timeout": 20},
        }
    tree = yaml.safe_load(config.to_yaml())
    hyperparameters = {"config": yaml.safe_dump(tree)} if config.tracker.name == "tensorboard" else tree
    try:
        accelerator.init_trackers(config.tracker.project, config=hyperparameters, init_kwargs=settings)
    except Exception as error:
        if config.tracker.name != "wandb" or settings["wandb"]["mode"] == "offline":
            raise
        # a wrong key or a missing network is no reason not to train
        accelerator.print(
            f"wandb is not to be reached ({str(error).splitlines()[0]}); its files stay in the run's folder"
        )
        settings["wandb"]["mode"] = "offline"
        accelerator.init_trackers(config.tracker.project, config=hyperparameters, init_kwargs=settings)


def _run_id(output_dir: Path) -> str:
    """Names a run by its folder and its start: the same after a restart, another after it was deleted and redone."""
    started = RunFolder(output_dir).provenance["created"]
    return hashlib.sha256(f"{output_dir.absolute()} {started}".encode()).hexdigest()[:16]


def _wandb_key() -> bool:
    netrc = Path.home() / (".netrc" if os.name != "nt" else "_netrc")
    stored = netrc.is_file() and "api.wandb.ai" in netrc.read_text(encoding="utf-8", errors="replace")
    return bool(os.environ.get("WANDB_API_KEY")) or stored
