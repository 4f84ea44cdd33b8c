"""The output folder of a run, and the only module that knows what lies where in it.

``config.yaml``                  settings, with every choice made; marks a run that has begun
``provenance.json``              commit, versions, hardware, data and initial weights; one entry for each continuation
``metrics.jsonl``                one JSON object per logged step
``checkpoints/step_00000100/``   model, optimizer, schedule and counters
``best/``                        the best state so far, where early stopping asks for it
``export/``                      what ``from_pretrained`` reads; marks a run that has finished
``.lock``                        held by the process that trains here
"""

import hashlib
import json
import shutil
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from roformer.errors import UserError
from roformer.io import atomic_folder, write_json, write_text
from roformer.runs.history import migrate, read_config
from roformer.runs.metrics import read_metrics

Status = Literal["new", "begun", "finished"]


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
        """Step -> folder of each whole checkpoint, by rising step."""
        found = {int(folder.name.removeprefix("step_")): folder for folder in self.checkpoint_dir.glob("step_*")}
        return dict(sorted(found.items()))

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

    def begin(self, config_yaml: str, provenance: dict[str, Any]) -> None:
        """Writes down what the run is; the settings come last, because they mark it as begun."""
        write_json(self._provenance, provenance)
        write_text(self._config, config_yaml)

    def add_part(self, provenance: dict[str, Any]) -> None:
        """Writes down that the run was continued, and by what."""
        record = self._read_provenance()
        write_json(self._provenance, {**record, "resumed": [*record["resumed"], provenance]})

    def _read_provenance(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self._provenance.read_text(encoding="utf-8"))
        return record

    def new_checkpoint(self, step: int) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes the checkpoint of ``step`` when the block ends without an error."""
        return atomic_folder(self.checkpoint_dir / f"step_{step:08d}", replace=True)

    def new_best(self) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes ``best/`` when the block ends without an error."""
        return atomic_folder(self.best, replace=True)

    def new_export(self) -> AbstractContextManager[Path]:
        """Yields an empty folder, which becomes ``export/`` and so finishes the run."""
        return atomic_folder(self.export, replace=True)

    def export_best(self) -> None:
        """Makes the best state the export, and so finishes the run."""
        self.best.rename(self.export)

    def remove_checkpoint(self, step: int) -> None:
        shutil.rmtree(self.checkpoints[step])


def find_export(init_from: str) -> Path:
    """Returns the export that ``init_from`` names: the folder itself, or that of a finished run.

    Raises:
        UserError: if there is none.
    """
    run = RunFolder(init_from)
    if run.status == "finished":
        return run.export
    if (run.path / "config.json").is_file():
        return run.path
    reason = "holds no run and no export" if run.path.is_dir() else "does not exist"
    if run.has_config:
        reason = "is a run that has not finished (re-run its command to resume)"
    raise UserError(f"init_from={init_from} {reason}; give the output folder of a finished run, or an export")


def run_of_export(export: Path) -> RunFolder | None:
    """Returns the run that an export belongs to; None where it was copied out of its run."""
    run = RunFolder(export.parent)
    return run if run.export == export and run.has_config else None
