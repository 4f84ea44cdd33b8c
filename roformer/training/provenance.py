"""Where a result comes from: commit, versions, hardware, and the weights that a run started from.

Saved beside every run and inside every results file.
"""

import hashlib
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import distributed as dist

from roformer.build import checkpoint_folder
from roformer.config import TrainConfig, stored_config
from roformer.errors import UserError
from roformer.io import write_json
from roformer.training.learning_rate import Grid

_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "hydra-core", "numpy")


def provenance() -> dict[str, Any]:
    """Returns the git commit (None outside a checkout), package versions and hardware, as plain JSON."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "command": shlex.join(sys.orig_argv[:1] and [Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "hardware": {
            "cpu": _cpu_name(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
        },
    }


def record_start(config: TrainConfig, data_fingerprint: str, grid: Grid | None, *, resumed: bool) -> None:
    """Writes ``config.yaml`` and ``provenance.json`` of a new run; checks and prolongs the latter of one that goes on.

    Args:
        config, data_fingerprint: what the run is.
        grid: what its learning rate was chosen from.
        resumed: whether it goes on from a checkpoint.

    Raises:
        UserError: if the data are no longer what the run began with.
    """
    folder = config.output_dir
    file = folder / "provenance.json"
    if not (folder / "config.yaml").is_file():
        start = {
            "data_fingerprint": data_fingerprint,
            "initial_weights": initial_weights(config.init_from),
            # JSON has no infinity, the loss of a rate at which the run diverged
            "learning_rate_grid": grid
            and [[rate, loss if math.isfinite(loss) else None] for rate, loss in grid.items()],
        }
        write_json(file, {**provenance(), **start, "resumed": []})
        (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    record = json.loads(file.read_text(encoding="utf-8"))
    if record["data_fingerprint"] != data_fingerprint:
        raise UserError(
            f"the data, or the version of roformer, has changed since {folder} was begun; choose another "
            "paths.output_dir"
        )
    if resumed:
        write_json(file, {**record, "resumed": [*record["resumed"], provenance()]})


def initial_weights(init_from: str | None) -> dict[str, Any] | None:
    """Returns a digest of the weights that ``init_from`` names, with the configuration of the run that made them
    (None for a mere export); None for a run that starts from nothing."""
    if init_from is None:
        return None
    folder = checkpoint_folder(init_from)
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    config = stored_config(folder.parent) if folder.name == "export" else None
    return {"digest": "-".join(map(file_digest, files)), "config": config}


def check_initial_weights(config: TrainConfig) -> None:
    """Raises ``UserError`` if the weights of ``init_from`` are no longer those that the run began with."""
    record = json.loads((config.output_dir / "provenance.json").read_text(encoding="utf-8"))
    current = initial_weights(config.init_from)
    if current and record["initial_weights"]["digest"] != current["digest"]:
        raise UserError(
            f"{config.output_dir} was begun from other weights than those that are in init_from={config.init_from} "
            "now; choose another paths.output_dir, or delete that folder"
        )


def file_digest(file: Path) -> str:
    """Returns 64 hexadecimal digits that name the content of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git_commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    try:
        commit = subprocess.run(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(["git", "-C", root, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    except OSError:
        return None
    return commit.stdout.strip() + ("+changes" if changed.stdout else "") if commit.returncode == 0 else None


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
