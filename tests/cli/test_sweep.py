"""The line before each run of a sweep counts what Hydra will run."""

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from roformer.cli.sweep import SweepProgress


@pytest.mark.parametrize(
    ("recipe", "command", "runs"),
    [
        ({}, ["position=rope,none", "seed=1,2,3", "model=tiny"], 6),
        ({"position": "rope,none", "seed": "range(1,6)"}, [], 10),
        ({"position": "rope,none", "seed": "range(1,6)"}, ["seed=7"], 2),
        ({}, ["model=glob(*,exclude=[base,seq2seq_*])", "seed=1,2"], 4),
    ],
)
def test_runs_are_counted(recipe, command, runs, capsys):
    """Catches a sweep of the recipe that the command line has narrowed, and a count that stands still."""
    progress = SweepProgress()
    config = OmegaConf.create({"hydra": {"sweeper": {"params": recipe}, "overrides": {"task": command}}})
    progress.on_multirun_start(config)
    for _ in range(2):
        progress.on_job_start(config)
        progress.on_job_end(config, JobReturn(status=JobStatus.COMPLETED))
    assert capsys.readouterr().out == f"run 1 of {runs}\nrun 2 of {runs}\n"
