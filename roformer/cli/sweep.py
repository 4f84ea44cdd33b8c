"""What a sweep tells: which of its runs is on, and how long the rest may take."""

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
from roformer.config import CONF
from roformer.errors import RunTakenError
from roformer.runs import RunFolder


class SweepProgress(Callback):
    """Prints a line before each run of a ``--multirun``, and at the end how many have failed.

    The time left supposes that all runs still to come take as long as the longest so far: those that are finished
    already take none.
    """

    def __init__(self) -> None:
        self.process = self.done = 0
        self.runs: int | None = None
        self.longest = self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Counts the runs: every combination of what is swept, where the command line wins over a recipe."""
        self.process = os.getpid()
        swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
        choices = {each.get_key_element(): _choices(each) for each in parsed}
        self.runs = None if None in choices.values() else math.prod(filter(None, choices.values()))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.start = time.monotonic()
        if self.runs:
            minutes = math.ceil(self.longest * (self.runs - self.done) / 60)
            left = f", up to {minutes:,} min left" if self.longest > 1 else ""
            print(f"run {self.done + 1} of {self.runs}{left}", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.done += 1
        self.longest = max(self.longest, time.monotonic() - self.start)
        # it has been told; Hydra would print all settings (a launcher with other processes needs it to learn of this)
        if job_return.status is JobStatus.FAILED and os.getpid() == self.process:
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Ends with exit status 1 if a run has failed, or another process has not finished what was left to it."""
        taken = [error for error in SWEEP_ERRORS if isinstance(error, RunTakenError)]
        failed = len(SWEEP_ERRORS) - len(taken)
        unfinished = sum(RunFolder(error.folder).status != "finished" for error in taken)
        if failed or unfinished:
            counts = {"failed": failed, "are still with another process": unfinished}
            told = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
            sys.exit(f"error: of {self.done} runs {told}, see above; then run the same command again")


def _choices(override: Override) -> int | None:
    """Returns how many values an override sweeps over, a glob over the files of its group; None where Hydra alone
    knows."""
    if not override.is_sweep_override():
        return 1
    if isinstance(value := override.value(), Glob):
        return len(value.filter([file.stem for file in (CONF / override.key_or_group).glob("*.yaml")]))
    return len(list(override.sweep_iterator())) if override.is_discrete_sweep() else None
