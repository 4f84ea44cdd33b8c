"""Runs that af2503a (version 0.1) wrote are still runs: they resume, evaluate, and others start from them.

tests/fixtures/runs_af2503a holds a finished run, a run of the same settings that a signal stopped at step 11, their
corpus, and configurations with settings that have been renamed since.
"""

import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.evaluation.harness import evaluate
from roformer.runs import RunFolder
from roformer.runs.history import read_config
from roformer.runs.provenance import provenance
from roformer.training.run import train
from roformer.training.validation import validate
from tests.planted import Planted
from tests.tiny_runs import evaluation, metrics, weights

STORED = Path(__file__).parents[1] / "fixtures" / "runs_af2503a"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A copy of the fixture as the working directory, since its paths are relative."""
    shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def again(run):
    """The configuration of a run as today's command line would give it."""
    return TrainConfig.from_settings({**run.config, "paths": {"output_dir": str(run.path), "cache_dir": "cache"}})


def same_machine(run):
    """Whether a run was made on this processor with these packages, so that numbers agree to the last bit."""
    here, there = provenance(), run.provenance
    return (here["versions"], here["hardware"]["cpu"]) == (there["versions"], there["hardware"]["cpu"])


def test_an_interrupted_run_resumes_to_the_weights_of_the_whole_one(runs, capsys):
    """Catches a renamed setting, counter or file that makes an old run unreadable or trains its rest otherwise."""
    run, whole = RunFolder("interrupted"), RunFolder("finished")
    assert (run.status, list(run.checkpoints)) == ("begun", [11])
    train(again(run), frozenset())
    assert "resuming from interrupted/checkpoints/step_00000011" in capsys.readouterr().out
    tolerance = 0.0 if same_machine(whole) else 1e-4
    torch.testing.assert_close(weights(run.path), weights(whole.path), rtol=tolerance, atol=tolerance)
    assert [line["step"] for line in metrics(run.path)] == [line["step"] for line in metrics(whole.path)]


@pytest.mark.parametrize(
    "name", ["custom_checkpoint_0.pkl", "custom_checkpoint_2.pkl", "random_states_0.pkl", "optimizer.bin"]
)
def test_nothing_of_it_is_unpickled(runs, name):
    """Catches an old checkpoint that runs somebody's code in the account of whoever resumes from it."""
    run, trace = RunFolder("interrupted"), runs / "trace"
    (run.checkpoints[11] / name).write_bytes(pickle.dumps(Planted(trace)))
    with suppress(UserError):
        train(again(run), frozenset())
    assert not trace.exists()


def test_a_finished_run_is_finished(runs, capsys):
    """Catches a version that trains an old run anew."""
    before = (runs / "finished" / "export" / "model.safetensors").stat().st_mtime_ns
    train(again(RunFolder("finished")), frozenset())
    assert "finished already finished; delete it to retrain" in capsys.readouterr().out
    assert (runs / "finished" / "export" / "model.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_evaluated(runs, capsys):
    """Catches an export or a corpus that today's code reads as another."""
    evaluate(evaluation(["finished"], length_factors=[1], output_dir="report"))
    assert "warning" not in capsys.readouterr().err
    assert list((runs / "report" / "results").glob("*/finished.json"))


def test_fine_tuning_starts_from_a_finished_run(runs):
    """Catches a position encoding of the export that is read by today's names only."""
    rows = [f"{file.read_text().strip()},{number % 2}" for number, file in enumerate(sorted(runs.glob("corpus/*")))]
    (runs / "labels.csv").write_text("\n".join(["text,label", *rows]))
    data = ("task=classification", "task.max_length=32", "data=labeled", "data.path=labels.csv")
    steps = ("trainer.max_steps=1", "trainer.eval_steps=1", "trainer.precision=fp32", "attention=sdpa", "tracker=none")
    paths = ("init_from=finished", "paths.output_dir=tuned", "paths.cache_dir=cache")
    train(TrainConfig.compose(*data, *steps, *paths), frozenset({"task"}))
    tuned, start = RunFolder("tuned"), RunFolder("finished")
    assert tuned.status == "finished"
    assert (tuned.config["position"], tuned.config["model"]["hidden_size"]) == (start.config["position"], 16)
    assert tuned.provenance["initial_weights"]["config"] == start.config


@pytest.mark.parametrize("file", sorted((STORED / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_renamed_settings_are_read(file):
    """Catches a name of before that no migration knows, and one that is dropped on the way."""
    config = read_config(file)
    typed = TrainConfig.from_settings(config)
    validate(typed)
    assert yaml.safe_load(typed.to_yaml()) == config
