"""A run in two parts is the run in one part, bit for bit, whatever ended the first."""

import json
import math
import os
import shutil
import signal

import pytest
import torch

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.tasks.factory import build_task
from roformer.tasks.mlm import MaskedLanguageModeling
from roformer.training.callbacks import Callback
from roformer.training.checkpoint import TrainingState
from tests.tiny_runs import ROOT, assert_same_run, metrics

DROPOUT = ("model.hidden_dropout_prob=0.1", "model.attention_probs_dropout_prob=0.1")


@pytest.fixture(scope="session")
def uninterrupted(tiny_runs):
    """A finished run with dropout, of each task; to be read only."""
    return lambda task: tiny_runs.train(tiny_runs.folder / f"uninterrupted-{task}", *DROPOUT, task=task)


class SimulatedCrash(BaseException):
    """Ends a run at a point where no signal could."""


@pytest.mark.parametrize("task", ["mlm", "classification", "translation"])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_stopping_changes_nothing(tiny_runs, interrupted, uninterrupted, tmp_path, task, steps):
    """Catches anything that a checkpoint lacks: optimizer, schedule, step, dropout, the place in the data."""
    run = interrupted(tmp_path / "run", steps, *DROPOUT, task=task)
    assert not (run / "export").exists()
    assert metrics(run)[-1]["step"] == steps
    assert (run / "checkpoints" / f"step_{steps:08}").is_dir()
    assert_same_run(tiny_runs.train(run, *DROPOUT, task=task), uninterrupted(task))


def test_stopping_twice_changes_nothing(interrupted, tiny_runs, uninterrupted, tmp_path):
    """Catches state that survives one restart but not a second."""
    interrupted(tmp_path / "run", 2, *DROPOUT)
    interrupted(tmp_path / "run", 5, *DROPOUT, number=signal.SIGINT)
    assert_same_run(tiny_runs.train(tmp_path / "run", *DROPOUT), uninterrupted("mlm"))


def test_stopping_between_two_logged_steps_changes_no_line(interrupted, tiny_runs, tmp_path):
    """Catches a line whose loss is the mean of fewer steps, because the run stopped in between."""
    rarely = ("trainer.logging_steps=4", "trainer.max_steps=8")
    interrupted(tmp_path / "run", 3, *rarely)
    assert_same_run(tiny_runs.train(tmp_path / "run", *rarely), tiny_runs.train(tmp_path / "whole", *rarely))


def test_dropout_needs_no_state_of_a_generator(tiny_runs, interrupted, uninterrupted, monkeypatch, tmp_path):
    """Catches dropout that depends on what was drawn before: a draw in an evaluation, or another process, moves it."""
    run = interrupted(tmp_path / "run", 3, *DROPOUT)
    evaluate = MaskedLanguageModeling.evaluate

    def drawing(self, model, split):
        torch.seed()
        return evaluate(self, model, split)

    monkeypatch.setattr(MaskedLanguageModeling, "evaluate", drawing)
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_each_step_and_seed_drops_out_anew(tiny_runs, tmp_path):
    """Catches the same units dropped at every step, and by every seed."""
    drawn = []

    class Watch(Callback):
        def after_step(self, trainer):
            drawn.append(torch.initial_seed())

    for seed in (1, 2):
        tiny_runs.train(tmp_path / str(seed), f"seed={seed}", callbacks=[Watch()])
    assert len(set(drawn)) == len(drawn) == 16


@pytest.mark.parametrize("step", [4, 8])
def test_a_signal_does_not_wait_for_an_evaluation(tiny_runs, interrupted, uninterrupted, tmp_path, step):
    """Catches a job that is killed while it evaluates, after a signal long before; and an evaluation left out."""
    run = interrupted(tmp_path / "run", step, *DROPOUT)
    assert metrics(run)[-1]["step"] == step - 1
    assert not (run / "export").exists()
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_steps_after_the_last_checkpoint_are_done_again(tiny_runs, before_step, uninterrupted, tmp_path):
    """Catches lines of metrics.jsonl that stand there twice after a crash, and a cut line that ends reading."""
    run = tmp_path / "run"

    def cut():
        raise SimulatedCrash

    with pytest.raises(SimulatedCrash):
        tiny_runs.train(run, *DROPOUT, callbacks=[before_step(7, cut)])  # two steps after the checkpoint
    assert metrics(run)[-1]["step"] == 6
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_crash_while_saving_leaves_the_older_checkpoint(tiny_runs, monkeypatch, uninterrupted, tmp_path):
    """Catches half a checkpoint that a run goes on from, or falls over."""
    run = tmp_path / "run"
    save = TrainingState.save

    def cut(self, folder):
        save(self, folder)
        if "00000008" in folder.name:
            (folder / "optimizer.safetensors").write_bytes(b"half")
            raise SimulatedCrash

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", cut)
        with pytest.raises(SimulatedCrash):
            tiny_runs.train(run, *DROPOUT)
    assert list(RunFolder(run).checkpoints) == [4]
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))
    assert not list(run.glob("checkpoints/.*"))


def test_crash_before_the_export_is_made_up_for(tiny_runs, uninterrupted, tmp_path):
    """Catches a run that has done all steps, has no export, and can never get one."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted("mlm"), run)
    shutil.rmtree(run / "export")
    (run / ".export.tmp").mkdir()
    (run / ".export.tmp" / "config.json").write_text("{}")
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_saving_more_often_changes_nothing(tiny_runs, uninterrupted, tmp_path):
    """Catches a checkpoint that draws random numbers or moves the schedule."""
    often = tiny_runs.train(tmp_path / "run", *DROPOUT, "trainer.save_steps=1", "trainer.keep_checkpoints=1")
    assert_same_run(often, uninterrupted("mlm"))


def test_epochs_reshuffle_and_a_run_crosses_them(interrupted, tiny_runs, tmp_path):
    """Catches a place in the data that is kept within an epoch only."""
    epochs = ("trainer.max_steps=null", "trainer.num_train_epochs=3", "trainer.batch_size=32", "trainer.save_steps=99")
    whole = tiny_runs.train(tmp_path / "whole", *epochs, task="classification")
    steps = metrics(whole)[-1]["step"]
    task = build_task(tiny_runs.config(whole, *epochs, task="classification"))
    assert steps == math.ceil(3 * task.rows / 32)
    run = interrupted(tmp_path / "run", steps - 1, *epochs, task="classification")
    assert_same_run(tiny_runs.train(run, *epochs, task="classification"), whole)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_each_signal_that_announces_the_end_saves(interrupted, tiny_runs, uninterrupted, tmp_path, name):
    """Catches hours lost to the signal of a scheduler: USR1 of Slurm, USR2 of submitit, XCPU, HUP of a terminal."""
    run = interrupted(tmp_path / "run", 3, *DROPOUT, number=signal.Signals[name])
    assert list(RunFolder(run).checkpoints) == [3]
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_the_handler_of_a_scheduler_is_called_after_saving(interrupted, tmp_path):
    """Catches a submitit job that is saved and never queued again, because its handler was replaced."""
    called = []
    before = signal.signal(signal.SIGUSR2, lambda *_: called.append(list(RunFolder(tmp_path / "run").checkpoints)))
    try:
        interrupted(tmp_path / "run", 3, number=signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert called == [[3]]


def test_a_run_stops_after_its_minutes(tiny_runs, uninterrupted, tmp_path, capsys):
    """Catches a job that its scheduler kills, because nobody told it how long it has."""
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as stopped:
        tiny_runs.train(run, *DROPOUT, "trainer.max_minutes=1e-9")
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "stopped at step 1 of 8" in capsys.readouterr().out
    assert_same_run(tiny_runs.train(run, *DROPOUT), uninterrupted("mlm"))


def test_checkpoints_by_time_are_kept_within_their_number(tiny_runs, uninterrupted, tmp_path):
    """Catches hours between checkpoints where steps are slow, and a disk that fills up with those by time."""
    seen = []

    class Watch(Callback):
        def before_step(self, trainer):
            trainer.checkpoints.wait()
            seen.append(list(trainer.folder.checkpoints))

    run = tiny_runs.train(tmp_path / "run", *DROPOUT, "trainer.save_minutes=1e-9", callbacks=[Watch()])
    assert seen == [[], [1], [2], [3], [4], [4, 5], [4, 6], [4, 7]]
    assert_same_run(run, uninterrupted("mlm"))


def test_many_stops_leave_few_checkpoints(interrupted, tmp_path):
    """Catches a spot machine whose disk fills up with the checkpoints of its stops."""
    for step in (1, 2, 3):
        interrupted(tmp_path / "run", step)
    assert list(RunFolder(tmp_path / "run").checkpoints) == [3]


def test_another_machine_is_told(interrupted, tiny_runs, tmp_path, capsys):
    """Catches a promise of equal bits that another version or number of threads breaks without a word."""
    run = interrupted(tmp_path / "run", 3)
    record = json.loads((run / "provenance.json").read_text())
    record["versions"]["torch"], record["hardware"]["threads"] = "2.1", 99
    (run / "provenance.json").write_text(json.dumps(record))
    tiny_runs.train(run)
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: resuming with"))
    assert f"torch {torch.__version__} in place of 2.1" in warning
    assert "threads 1 in place of 99" in warning


def test_data_may_move(interrupted, tiny_runs, tmp_path):
    """Catches a corpus that is known by its path, and another one that is taken for it."""
    run = interrupted(tmp_path / "run", 3)
    moved = shutil.copytree(tiny_runs.text, tmp_path / "moved")
    (moved / "00.txt").write_text("another text")
    with pytest.raises(UserError, match="the data, or the version of roformer, has changed"):
        tiny_runs.train(run, f"data.path={moved}")
    shutil.copy(tiny_runs.text / "00.txt", moved)
    tiny_runs.train(run, f"data.path={moved}")
    assert metrics(run)[-1]["step"] == 8
    assert RunFolder(run).config["data"]["path"] == str(moved)
    parts = len(RunFolder(run).provenance["resumed"])
    tiny_runs.train(run)  # of a finished run only the place of the data changes
    assert RunFolder(run).config["data"]["path"] == str(tiny_runs.text)
    assert len(RunFolder(run).provenance["resumed"]) == parts == 1


def test_a_data_file_need_not_know_every_setting(interrupted, tiny_runs, tmp_path):
    """Catches a corpus with a yaml of the user's own whose runs cannot be resumed."""
    run = interrupted(tmp_path / "run", 3, "~data.drop_repeated")
    assert "drop_repeated" not in (run / "config.yaml").read_text()
    tiny_runs.train(run, "~data.drop_repeated")
    assert metrics(run)[-1]["step"] == 8


def test_files_of_others_are_left_alone(tiny_runs, tmp_path):
    """Catches a run in the folder of somebody's corpus, and the advice to delete it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corpus.txt").write_text("x")
    with pytest.raises(UserError, match=r"mine holds corpus.txt, which is of no run; choose an empty or a new folder"):
        tiny_runs.train(tmp_path / "mine")


def test_more_steps_have_a_way(finished, tiny_runs, tmp_path):
    """Catches an error for a larger ``max_steps`` whose only remedy is to delete the run."""
    with pytest.raises(UserError, match=rf"to train longer: init_from={finished} load_optimizer_state=true"):
        tiny_runs.train(finished, "trainer.max_steps=9")
    longer = tiny_runs.train(tmp_path / "longer", f"init_from={finished}", "load_optimizer_state=true")
    assert metrics(longer)[-1]["step"] == 8


def test_another_encoding_is_named_as_such(interrupted, tiny_runs, tmp_path):
    """Catches a message about a setting that one of two encodings does not have."""
    run = interrupted(tmp_path / "run", 3)
    with pytest.raises(UserError, match=r"holds a run with position.name=rope, now it is alibi"):
        tiny_runs.train(run, "position=alibi")


@pytest.mark.slow
def test_a_run_repeats_itself_from_its_folder(commands, finished, tmp_path):
    """Catches a folder that lacks something that the run depends on."""
    repeated = tmp_path / "repeated"
    folder = (
        "--config-path",
        os.path.relpath(finished, ROOT),
        "--config-name",
        "config",
        f"paths.output_dir={repeated}",
    )
    command = commands.run("train.py", *folder)
    assert command.status == 0, command.stderr.read_text()
    assert_same_run(repeated, finished)
    assert "torch==" in (finished / "requirements.txt").read_text()
