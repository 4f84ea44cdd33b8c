"""What a sweep tells: which of its runs is on, and how long the rest may take."""

import math
import time
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepProgress(Callback):
    """Prints a line before each run of ``train.py --multirun``.

    The time left supposes that all runs still to come take as long as the longest so far: those that are finished
    already take none.
    """

    def __init__(self) -> None:
        self.runs = self.done = 0
        self.longest = self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Counts the runs: every combination of what is swept, where the command line wins over a recipe."""
        swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*swept, *config.hydra.overrides.task])
        sizes = {
            each.get_key_element(): len(list(each.sweep_iterator())) if each.is_sweep_override() else 1
            for each in parsed
        }
        self.runs = math.prod(sizes.values())

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.start = time.monotonic()
        if self.runs:
            minutes = math.ceil(self.longest * (self.runs - self.done) / 60)
            left = f", up to {minutes:,} min left" if self.longest > 1 else ""
            print(f"run {self.done + 1} of {self.runs}{left}", flush=True)

    def on_job_end(self, config: DictConfig, **_: Any) -> None:
        self.done += 1
        self.longest = max(self.longest, time.monotonic() - self.start)
