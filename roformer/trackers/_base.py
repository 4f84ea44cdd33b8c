"""The contract of an experiment tracker: where the curves of ``metrics.jsonl`` go as well."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from accelerate.tracking import GeneralTracker

from roformer.errors import one_line
from roformer.extras import require
from roformer.registry import Registry


class Tracker(ABC):
    """Sends settings and metrics to a tracking library, through Accelerate's class for it.

    Only the main process starts its tracker; on the others ``log`` and ``finish`` do nothing.

    Args:
        project: what runs are grouped under.

    Raises:
        UserError: if the library is not installed.

    Attributes:
        package: the library, by the name that both pip and Python have for it; None if there is none.
        next_step: the first step that this part of the run may log; what a killed part logged from there on is void.
    """

    package: ClassVar[str | None] = None

    def __init__(self, *, project: str) -> None:
        if self.package:
            require(self.package, f"tracker={self.package}", otherwise="tracker=none")
        self.project, self.next_step = project, 1
        self._started: GeneralTracker | None = None

    def start(self, folder: Path, *, run_id: str, config: Mapping[str, Any], next_step: int = 1) -> None:
        """Starts the tracker, or resumes the curves of an earlier part of the run.

        Args:
            folder: output folder of the run; its name is the run's, and files go there.
            run_id: the same for all parts of a run, and no other run's.
            config: the run's settings, nested.
            next_step: the first step that may be logged.
        """
        self.next_step = next_step
        with self._unable_to_end_it("start"):
            self._started = self.open(folder, run_id, config)

    @abstractmethod
    def open(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> GeneralTracker | None:
        """Returns the library's tracker, started, with the settings stored; None if nothing is tracked."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Sends the metrics of an optimizer step."""
        if self._started:
            with self._unable_to_end_it("log"):
                self._started.log(dict(metrics), step=step)

    def finish(self) -> None:
        """Writes what is pending and closes the tracker."""
        if self._started:
            with self._unable_to_end_it("finish"):
                self._started.finish()

    @contextmanager
    def _unable_to_end_it(self, action: str) -> Iterator[None]:
        """Keeps an error of the library from ending the training; nothing more is sent after it."""
        try:
            yield
        except Exception as error:
            self._started = None
            print(f"warning: {type(self).__name__} cannot {action} ({one_line(error)}); training continues without it")


TRACKERS: Registry[Tracker] = Registry("tracker")
