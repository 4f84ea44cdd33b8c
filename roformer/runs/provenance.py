"""Where a result comes from: commit, versions, hardware, data and initial weights.

Saved with every run and in every results file.
"""

import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from torch import distributed as dist

from roformer.config import CONF, TrainConfig
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.io import file_digest
from roformer.runs.folder import RunFolder, find_export, run_of_export

_PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "hydra-core", "numpy")


def provenance() -> dict[str, Any]:
    """Returns the git commit (None outside a checkout), package versions and hardware, as plain JSON."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "command": _command(),
        "working_directory": str(Path.cwd()),
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "hardware": {
            "cpu": _cpu_name(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "processes": dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1,
        },
    }


def record_part(
    folder: RunFolder, config: TrainConfig, corpus: TokenizedCorpus, losses_by_rate: Mapping[float, float] | None
) -> None:
    """Begins a new run in its folder, or adds the part that starts now to one that has begun.

    Args:
        folder: of the run.
        config: with every choice made.
        corpus: as it is now.
        losses_by_rate: what the learning rate was chosen from, if it was.

    Raises:
        UserError: if the data are no longer what the run began with.
    """
    if not folder.has_config:
        start = {
            "data_fingerprint": corpus.fingerprint,
            "data_warnings": list(corpus.warnings),
            "initial_weights": initial_weights(config.init_from),
            # JSON has no infinity, the loss of a rate at which the run diverged
            "learning_rate_grid": losses_by_rate
            and [[rate, loss if math.isfinite(loss) else None] for rate, loss in losses_by_rate.items()],
        }
        record = {**provenance(), **start, "resumed": []}
        folder.begin(config.to_yaml(), record, packages=_installed(), changes=_uncommitted())
    record_place_of_data(folder, config, corpus)
    if folder.checkpoints:
        part = provenance()
        earlier = folder.provenance
        if changes := list(_changes([earlier, *earlier["resumed"]][-1], part)):
            print(
                f"warning: resuming with {', '.join(changes)}: the last digits may differ from an uninterrupted run's"
            )
        folder.add_part(part)


def record_place_of_data(folder: RunFolder, config: TrainConfig, corpus: TokenizedCorpus) -> None:
    """Writes down where the data of a run lie now.

    Raises:
        UserError: if they are no longer what the run began with.
    """
    if folder.provenance["data_fingerprint"] != corpus.fingerprint:
        raise UserError(
            f"the data, or the version of roformer, has changed since {folder.path} was begun; restore them, or "
            "choose another paths.output_dir"
        )
    path, stored = config.data.get("path"), folder.config
    if stored and stored["data"].get("path") != path:
        folder.update_config(yaml.safe_dump({**stored, "data": {**stored["data"], "path": path}}, sort_keys=False))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields what two parts of a run do not share of all that decides the last bits of a number."""
    for group in ("versions", "hardware"):
        for key in sorted(before[group].keys() & now[group].keys() - {"memory_gib"}):
            if before[group][key] != now[group][key]:
                yield f"{key} {now[group][key]} in place of {before[group][key]}"
    if before["git_commit"] != now["git_commit"]:
        yield f"commit {now['git_commit']} in place of {before['git_commit']}"


def initial_weights(init_from: str | None) -> dict[str, Any] | None:
    """Returns a digest of the weights that ``init_from`` names, with the configuration of the run that made them
    (None for an export without its run); None for a run that starts from random weights."""
    if init_from is None:
        return None
    export = find_export(init_from, "init_from=")
    files = sorted(export.glob("*.safetensors")) or sorted(export.glob("*.bin")) or sorted(export.glob("*.data-*"))
    run = run_of_export(export)
    return {"digest": "-".join(map(file_digest, files)), "config": run.config if run else None}


def check_initial_weights(folder: RunFolder, init_from: str | None) -> None:
    """Raises ``UserError`` if the weights of ``init_from`` are no longer those that the run began with."""
    current = initial_weights(init_from)
    if current and folder.provenance["initial_weights"]["digest"] != current["digest"]:
        raise UserError(
            f"{folder.path} was begun from other weights than those that are in init_from={init_from} "
            "now; choose another paths.output_dir, or delete that folder"
        )


def _command() -> str:
    """Returns the command line of this process, without the folders of the interpreter and of a console script."""
    program, *arguments = sys.orig_argv or [""]
    if arguments and Path(arguments[0]).is_absolute() and Path(arguments[0]).parent == Path(program).parent:
        program, *arguments = arguments  # a console script, which lies next to the interpreter that runs it
    return shlex.join([Path(program).name, *arguments])


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # of an extra that is not installed
            yield name, version(name)


@cache
def _installed() -> str:
    """Returns all installed packages with their versions, in the format of ``pip freeze``."""
    found = {f"{package.name}=={package.version}" for package in distributions() if package.name}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def _git_commit() -> str | None:
    commit = _git("rev-parse", "--short=12", "HEAD")
    return commit and commit.strip() + ("+changes" if _git("status", "--porcelain", "-uno") else "")


def _uncommitted() -> str:
    """Returns the changes of the checkout since its commit; empty without any."""
    return _git("diff", "HEAD", "--no-color", "--no-ext-diff") or ""


def _git(*arguments: str) -> str | None:
    """Returns what git says about the checkout; None outside one."""
    root = CONF.parent
    if root == Path(__file__).parents[1]:  # an installed package: a repository around it is somebody else's
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    return answer.stdout if answer.returncode == 0 else None


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
