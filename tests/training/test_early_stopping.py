"""When training stops by itself, and which state it then exports."""

import math

import pytest
from safetensors.torch import load_file

from roformer.errors import UserError
from roformer.tasks.classification import Classification
from roformer.tasks.mlm import MaskedLanguageModeling
from tests.tiny_runs import assert_same_run, metrics, weights

OFTEN = ("trainer.max_steps=20", "trainer.eval_steps=2", "trainer.save_steps=2", "trainer.keep_checkpoints=20")
PATIENT = (*OFTEN, "trainer.early_stopping_patience=2")


@pytest.fixture
def scripted(monkeypatch):
    """Lets the evaluations of the runs that follow come out as listed."""

    def script(task_class, values):
        remaining = iter(values)
        key = task_class.best_metric
        monkeypatch.setattr(task_class, "evaluate", lambda self, model, split: {key: next(remaining)})

    return script


def checkpoint(run, step):
    return load_file(run / "checkpoints" / f"step_{step:08}" / "model.safetensors")


def is_exported(run, step):
    """Whether the export has the weights of that checkpoint."""
    exported, stored = weights(run), checkpoint(run, step)
    return all(exported[name].equal(stored[name]) for name in exported.keys() & stored.keys())


@pytest.mark.parametrize(
    ("task", "task_class", "values"),
    [
        ("mlm", MaskedLanguageModeling, [3.0, 2.0, 2.5, 2.0, 1.0]),  # a loss: the least is best, a tie is no gain
        ("classification", Classification, [0.3, 0.5, 0.4, 0.5, 0.9]),
    ],
)
def test_stops_after_so_many_evaluations_without_gain(tiny_runs, scripted, tmp_path, task, task_class, values):
    """Catches the last state exported instead of the best, the wrong direction, and patience off by one."""
    scripted(task_class, values)
    run = tiny_runs.train(tmp_path / "run", *PATIENT, task=task)
    assert metrics(run)[-1]["step"] == 8
    assert is_exported(run, 4)
    assert not is_exported(run, 8)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.3, 0.5, 0.4, 0.5], "stopped at step 8 of 20, after 2 evaluations without a better validation_accuracy"),
        ([0.1, *(0.2 + 0.01 * i for i in range(7)), 0.9, 0.4], "exported is step 18, the best on the validation"),
    ],
)
def test_a_run_says_which_state_it_exports(tiny_runs, scripted, tmp_path, capsys, values, said):
    """Catches a run that ends before its last step in silence, and a card with the steps of another state."""
    scripted(Classification, values)
    run = tiny_runs.train(tmp_path / "run", *PATIENT, task="classification")
    best = 2 * (1 + values.index(max(values)))
    (line,) = (each for each in capsys.readouterr().out.splitlines() if f"exported is step {best}, the best" in each)
    assert said in line
    assert f"the weights are those of step {best} |" in (run / "export/README.md").read_text()


def test_a_gain_restores_patience(tiny_runs, scripted, tmp_path):
    """Catches evaluations without gain that add up over the whole run instead of in a row."""
    scripted(MaskedLanguageModeling, [5.0, 6.0, 4.0, 6.0, 3.0, 6.0, 2.0, 6.0, 1.0, 6.0])
    run = tiny_runs.train(tmp_path / "run", *PATIENT)
    assert metrics(run)[-1]["step"] == 20
    assert is_exported(run, 18)


def test_without_patience_the_last_state_counts(tiny_runs, scripted, tmp_path):
    """Catches pretraining that stops early or exports a state chosen on the validation split."""
    scripted(MaskedLanguageModeling, [1.0, *([9.0] * 9)])
    run = tiny_runs.train(tmp_path / "run", *OFTEN)
    assert metrics(run)[-1]["step"] == 20
    assert is_exported(run, 20)


def test_patience_and_best_state_outlive_a_restart(tiny_runs, scripted, interrupted, tmp_path):
    """Catches a best metric or a count of evaluations that a restart forgets: it would export another state."""
    values = [3.0, 2.0, 2.5, 2.5, 1.0]
    scripted(MaskedLanguageModeling, values)
    whole = tiny_runs.train(tmp_path / "whole", *PATIENT)
    scripted(MaskedLanguageModeling, values)
    run = interrupted(tmp_path / "run", 7, *PATIENT)
    assert_same_run(tiny_runs.train(run, *PATIENT), whole)


def test_a_stopped_run_that_lost_its_end_only_exports(tiny_runs, scripted, tmp_path):
    """Catches a run that trains on after it had stopped, because a crash came before its export."""
    scripted(MaskedLanguageModeling, [3.0, 2.0, 2.5, 2.5])
    run = tiny_runs.train(tmp_path / "run", *PATIENT)
    before = metrics(run)
    (run / "export").rename(run / "best")
    tiny_runs.train(run, *PATIENT)  # a further evaluation would find nothing scripted
    assert metrics(run) == before
    assert is_exported(run, 4)


def test_a_validation_loss_that_is_no_number_ends_the_run(tiny_runs, scripted, tmp_path):
    """Catches a diverged model that is taken for the best, and NaN in metrics.jsonl, which is no JSON."""
    scripted(MaskedLanguageModeling, [3.0, math.nan, math.nan])
    with pytest.raises(UserError, match="validation_loss is nan at step 4"):
        tiny_runs.train(tmp_path / "run", *PATIENT)
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()
