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
    for number in range(2):
        config.hydra.job = {"num": number}
        progress.on_job_start(config)
        progress.on_job_end(config, JobReturn(status=JobStatus.COMPLETED))
    assert capsys.readouterr().out == f"run 1 of {runs}\nrun 2 of {runs}\n"


def test_each_process_of_a_launcher_counts_its_own_run(capsys):
    """Catches "run 1 of 2" in both processes of a launcher, which begin with the same copy of the callback."""
    config = OmegaConf.create({"hydra": {"sweeper": {"params": {}}, "overrides": {"task": ["seed=1,2"]}}})
    config.hydra.job = {"num": 1}
    progress = SweepProgress()
    progress.on_multirun_start(config)
    progress.on_job_start(config)
    assert capsys.readouterr().out == "run 2 of 2\n"
