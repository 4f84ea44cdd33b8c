"""Progress of a sweep: the number of the current run, and an upper bound on the time left."""

import math
import os
import sys
import time
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from roformer.cli.errors import SWEEP_ERRORS
from roformer.cli.shares import is_of_share, processes_for, run_in_processes
from roformer.config import CONF
from roformer.errors import RunTakenError
from roformer.runs import RunFolder


class SweepProgress(Callback):
    """Prints a line before each run of a ``--multirun``, and the number of failed runs at the end.

    The time left assumes that every remaining run takes as long as the longest so far. Runs that have finished
    already take no time, so it is an upper bound.

    Args:
        processes: that make the runs at the same time, or ``auto``; see ``processes_for``.
        share: of this process, which makes a part of the runs, as "0/2"; None for all of them.
    """

    def __init__(self, processes: int | str = 1, share: str | None = None) -> None:
        self.processes, self.share = processes, share
        self.process = self.done = 0
        self.runs: int | None = None
        self.longest = self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Counts the combinations of all swept values; the command line takes precedence over a recipe.

        Raises:
            SystemExit: after the runs, if several processes have made them.
        """
        self.process = os.getpid()
        swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
        choices = {each.get_key_element(): _choices(each) for each in parsed}
        self.runs = None if None in choices.values() else math.prod(filter(None, choices.values()))
        if self.share is None and (count := processes_for(self.processes, self.runs)) > 1:
            sys.exit(run_in_processes(count))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.start = time.monotonic()
        if self.runs and is_of_share(config.hydra.job.num, self.share):
            minutes = math.ceil(self.longest * (self.runs - self.done) / 60)
            left = f", up to {minutes:,} min left" if self.longest > 1 else ""
            print(f"run {config.hydra.job.num + 1} of {self.runs}{left}", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.done += 1
        self.longest = max(self.longest, time.monotonic() - self.start)
        # already printed; Hydra would print all settings. (A launcher with other processes needs the status.)
        if job_return.status is JobStatus.FAILED and os.getpid() == self.process:
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Exits with status 1 if a run has failed, or another process has not finished a run that was skipped here."""
        taken = [error for error in SWEEP_ERRORS if isinstance(error, RunTakenError)]
        failed = len(SWEEP_ERRORS) - len(taken)
        unfinished = sum(RunFolder(error.folder).status != "finished" for error in taken)
        counts = {"failed": failed, "still running in another process": unfinished}
        if problems := [f"{count}/{self.done} runs {state}" for state, count in counts.items() if count]:
            sys.exit(f"error: {', '.join(problems)}; see the messages above, then re-run the same command")


def _choices(override: Override) -> int | None:
    """Returns the number of values that an override sweeps over, or None if only Hydra knows."""
    if not override.is_sweep_override():
        return 1
    if isinstance(value := override.value(), Glob):
        return len(value.filter([file.stem for file in (CONF / override.key_or_group).glob("*.yaml")]))
    return len(list(override.sweep_iterator())) if override.is_discrete_sweep() else None
