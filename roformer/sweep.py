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

from roformer.cli import CONF


class SweepProgress(Callback):
    """Prints a line before each run of ``train.py --multirun``.

    The time left supposes that all runs still to come take as long as the longest so far: those that are finished
    already take none.
    """

    def __init__(self) -> None:
        self.runs = self.done = self.failed = self.process = 0
        self.longest = self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Counts the runs: every combination of what is swept, where the command line wins over a recipe."""
        swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
        sizes = {each.get_key_element(): _choices(each) for each in parsed}
        self.runs = math.prod(sizes.values())
        self.process = os.getpid()

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.start = time.monotonic()
        if self.runs:
            minutes = math.ceil(self.longest * (self.runs - self.done) / 60)
            left = f", up to {minutes:,} min left" if self.longest > 1 else ""
            print(f"run {self.done + 1} of {self.runs}{left}", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.done += 1
        self.longest = max(self.longest, time.monotonic() - self.start)
        # a launcher that uses other processes tells of failures itself; Hydra's own would print all settings
        if job_return.status is JobStatus.FAILED and os.getpid() == self.process:
            self.failed += 1
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Ends with exit status 1 if a run has failed."""
        if self.failed:
            sys.exit(f"error: {self.failed} of {self.runs} runs failed, see above; mended, run the same command again")


def _choices(override: Override) -> int:
    """Returns how many values an override sweeps over; a glob does so over the files of its group."""
    if not override.is_sweep_override():
        return 1
    if isinstance(value := override.value(), Glob):
        return len(value.filter([file.stem for file in (CONF / override.get_key_element()).glob("*.yaml")]))
    return len(list(override.sweep_iterator()))
