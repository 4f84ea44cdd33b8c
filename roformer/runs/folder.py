"""The output folder of a run, and the only module that knows what lies where in it.

``config.yaml``                  settings, with every choice made; marks a run that has begun
``provenance.json``              commit, versions, hardware, data and initial weights; one entry for each continuation
``requirements.txt``             all installed packages with their versions, as the run began
``changes.diff``                 of the code since the commit in ``provenance.json``, if there were any
``metrics.jsonl``                one JSON object per logged step
``checkpoints/step_00000100/``   model, optimizer, schedule and counters; ``damaged-...`` was one, and is not read
``best/``                        the best state so far, where early stopping asks for it
``diverged``                     there if the run ended in numbers that are not finite
``export/``                      what ``from_pretrained`` reads; marks a run that has finished
``.alive-0``                     sign of life of one of several processes
``.lock``                        held by the process that trains here

Checkpoints, ``best/`` and ``export/`` are whole or not there, and hold the digests of their files.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from roformer.errors import UserError, one_line
from roformer.hub import download, is_hub_name
from roformer.io import DIGESTS, atomic_folder, damage, has_digests, write_json, write_text
from roformer.runs.history import migrate, read_config
from roformer.runs.metrics import read_metrics

Status = Literal["new", "begun", "finished"]
_PROVENANCE = ("created", "data_fingerprint", "versions", "hardware", "git_commit", "initial_weights", "resumed")
_MODEL = ("config.json", "bert_config.json")  # of transformers, and of TensorFlow
_CHECKPOINT = re.compile(r"step_(\d{8,})")


class RunFolder:
    """One run on disk; two objects for one path are two views of the same run.

    Args:
        path: the output folder, which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.export = self.path / "export"
        self.exported_weights = self.export / "model.safetensors"
        self.best = self.path / "best"
        self.checkpoint_dir = self.path / "checkpoints"
        self.metrics_file = self.path / "metrics.jsonl"
        self._config, self._provenance = self.path / "config.yaml", self.path / "provenance.json"
        self._diverged = self.path / "diverged"
        self._lock = FileLock(self.path / ".lock")

    @property
    def status(self) -> Status:
        """``new`` before anything was trained, ``finished`` once the export is there."""
        if (self.export / "config.json").is_file():
            return "finished"
        return "begun" if self.has_config else "new"

    @property
    def has_config(self) -> bool:
        """Whether ``train.py`` has begun a run here."""
        return self._config.is_file()

    @property
    def config(self) -> dict[str, Any] | None:
        """The settings of the run in today's terms; None where none was begun.

        Raises:
            UserError: if ``config.yaml`` is that of another program.
        """
        return read_config(self._config) if self.has_config else None

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the run comes from, the settings of an earlier run in today's terms; see
        ``roformer.runs.provenance``."""
        record = self._read_provenance()
        if (start := record["initial_weights"]) and start["config"]:
            start["config"] = migrate(start["config"])
        return record

    @property
    def run_id(self) -> str:
        """Names the run by its path and its start: the same in all its parts, another once it was deleted and trained
        again."""
        start = f"{self.path.absolute()} {self.provenance['created']}"
        return hashlib.sha256(start.encode()).hexdigest()[:16]

    def metrics(self) -> list[dict[str, float]]:
        """Returns the logged lines, oldest first."""
        return read_metrics(self.metrics_file)

    @property
    def checkpoints(self) -> dict[int, Path]:
        """Step -> folder of each checkpoint, by rising step; anything else there is ignored."""
        folders = [folder for folder in self.checkpoint_dir.glob("step_*") if folder.is_dir()]
        found = {int(match[1]): folder for folder in folders if (match := _CHECKPOINT.fullmatch(folder.name))}
        return dict(sorted(found.items()))

    def newest_whole_checkpoint(self, report: Callable[[str], object]) -> Path | None:
        """Returns the newest checkpoint whose files are as they were written; sets aside those that are not.

        Args:
            report: called with a line for each that is set aside.
        """
        newest_first = list(reversed(self.checkpoints.values()))
        for folder in newest_first:
            if not has_digests(folder) and (folder / "optimizer.bin").is_file():  # of version 0.1
                return folder
            if (found := damage(folder)) is None:
                return folder
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(folder, aside)
            report(f"{folder} is damaged ({found}); set aside as {aside.name}")
        if newest_first:
            report("no whole checkpoint is left; training begins again")
        return None

    def remove_damaged_export(self, report: Callable[[str], object]) -> None:
        """Removes an export whose files are not as they were written, so that the run is no longer finished.

        Args:
            report: called with a line that names the damage.

        Raises:
            UserError: if it was the best state of the run, which the checkpoints do not have.
        """
        if not self.export.is_dir() or not has_digests(self.export) or (found := damage(self.export)) is None:
            return
        config = self.config
        if config and config["trainer"]["early_stopping_patience"] is not None:
            raise UserError(
                f"{self.export} is damaged ({found}), and no checkpoint holds its best state; delete {self.path} to "
                "retrain"
            )
        report(f"{self.export} is damaged ({found}); making it again")
        shutil.rmtree(self.export)

    def record_divergence(self) -> None:
        """Notes that the run cannot go on, since its numbers are not finite."""
        write_text(self._diverged, "")

    @property
    def has_diverged(self) -> bool:
        """Whether the run ended in numbers that are not finite."""
        if self.status == "finished":
            return False
        lines = self.metrics()  # version 0.1 wrote the loss down
        return self._diverged.is_file() or bool(lines and not math.isfinite(lines[-1].get("loss", 0.0)))

    def signs_of_life(self, processes: int) -> list[Path]:
        """Returns a file for each of several processes that train here, by rank."""
        return [self.path / f".alive-{rank}" for rank in range(processes)]

    def lock(self) -> bool:
        """Returns whether this process is now the only one that trains in the folder, which must exist."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def unlock(self) -> None:
        """Lets others train here; where no run was begun, the folder goes, so that it does not look like one."""
        if self._lock.is_locked and not self.has_config:
            with suppress(OSError):
                (self.path / ".lock").unlink()
                self.path.rmdir()
        self._lock.release()

    def begin(self, config_yaml: str, provenance: dict[str, Any], *, packages: str = "", changes: str = "") -> None:
        """Writes down what the run is; the settings come last, because they mark it as begun.

        Args:
            config_yaml: the settings.
            provenance: see ``roformer.runs.provenance``.
            packages: all installed packages with their versions.
            changes: of the code, since the commit that ``provenance`` names.
        """
        for name, text in (("requirements.txt", packages), ("changes.diff", changes)):
            if text:
                write_text(self.path / name, text)
        write_json(self._provenance, provenance)
        write_text(self._config, config_yaml)

    def update_config(self, config_yaml: str) -> None:
        """Replaces the settings of the run by those that mean the same, such as the place to which its data moved."""
        write_text(self._config, config_yaml)

    def foreign_files(self) -> list[str]:
        """Returns the names of files and folders that no run has written, where no run was begun."""
        own = {"requirements.txt", "changes.diff", self._provenance.name}
        names = sorted(path.name for path in self.path.glob("*")) if not self.has_config else []
        return [name for name in names if name not in own and not name.startswith(".")]

    def add_part(self, provenance: dict[str, Any]) -> None:
        """Writes down that the run was continued, and by what."""
        record = self._read_provenance()
        write_json(self._provenance, {**record, "resumed": [*record["resumed"], provenance]})

    def _read_provenance(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._provenance.read_text(encoding="utf-8"))
            if missing := [key for key in _PROVENANCE if key not in record]:
                raise ValueError(f"it lacks '{missing[0]}'")
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{self._provenance} cannot be read ({one_line(error)}); restore it, or delete {self.path} to retrain"
            ) from error
        return record

    def new_checkpoint(self, step: int) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes the checkpoint of ``step`` when the block ends without an error."""
        return atomic_folder(self.checkpoint_dir / f"step_{step:08d}")

    def new_best(self) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes ``best/`` when the block ends without an error."""
        return atomic_folder(self.best)

    def new_export(self) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes ``export/`` and so finishes the run."""
        return atomic_folder(self.export)

    def export_best(self) -> None:
        """Makes the best state the export, and so finishes the run."""
        self.best.rename(self.export)

    def remove_checkpoint(self, step: int) -> None:
        shutil.rmtree(self.checkpoints[step])


def find_export(folder: str, setting: str = "") -> Path:
    """Returns the export that a folder is or, if it is that of a finished run, has; or a checkpoint of the hub.

    Args:
        folder: the output folder of a run, an export, or a checkpoint of another program, in a folder or on the hub.
        setting: that names it in messages, such as ``init_from=``.

    Raises:
        UserError: if there is none.
    """
    run = RunFolder(download(folder) if is_hub_name(folder) else folder)
    if run.status == "finished" or any((run.path / name).is_file() for name in _MODEL):
        export = run.export if run.status == "finished" else run.path
        check_export(export)
        return export
    reason = "holds no run and no export" if run.path.is_dir() else "does not exist"
    if run.has_config:
        reason = "is a run that has not finished (re-run its command to resume)"
    raise UserError(
        f"{setting}{folder} {reason}; give the output folder of a finished run, an export, or another checkpoint"
    )


def check_export(export: Path) -> None:
    """Raises ``UserError`` if an export of ours has changed since it was written; others have no digests."""
    if has_digests(export) and (found := damage(export)):
        raise UserError(
            f"{export} is damaged ({found}); re-run the training command of the run to export it again, restore the "
            f"file, or delete {DIGESTS} there if the change was meant"
        )


def run_of_export(export: Path) -> RunFolder | None:
    """Returns the run that an export belongs to; None where it was copied out of its run."""
    run = RunFolder(export.parent)
    return run if run.export == export and run.has_config else None
