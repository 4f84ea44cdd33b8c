"""Files of a run that are gone or not as they were written: the run goes on from what is whole, and says so."""

import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from roformer.errors import UserError
from roformer.io import DIGESTS
from roformer.runs import RunFolder
from tests.planted import Planted
from tests.tiny_runs import assert_same_run, weights

OFTEN = ("trainer.save_steps=2", "trainer.keep_checkpoints=2")
CHECKPOINT = ("model.safetensors", "optimizer.safetensors", "state.json", DIGESTS)
CACHED = ("meta.json", "train.tokens.npy", "train.offsets.npy", "validation.tokens.npy", DIGESTS)


def delete(file):
    file.unlink()


def empty(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def append(file):
    file.write_bytes(file.read_bytes() + b"}")


DAMAGES = [delete, empty, cut, zero, flip_a_bit, append]
damaged_by = pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)


@pytest.fixture(scope="session")
def whole(tiny_runs):
    """A finished run; to be read only."""
    return tiny_runs.train(tiny_runs.folder / "whole", *OFTEN)


@pytest.fixture
def stopped(tiny_runs, whole, tmp_path):
    """A copy of a run that was stopped after six of its steps, with the checkpoints of steps 4 and 6."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "export")
    shutil.rmtree(run / "checkpoints" / "step_00000008")
    kept = tiny_runs.folder / "step_00000004"
    if not kept.exists():
        tiny_runs.train(tmp_path / "other", *OFTEN, "trainer.keep_checkpoints=4")
        shutil.copytree(tmp_path / "other" / "checkpoints" / "step_00000004", kept)
    shutil.copytree(kept, run / "checkpoints" / "step_00000004")
    return run


@damaged_by
@pytest.mark.parametrize("name", CHECKPOINT)
def test_the_checkpoint_before_a_damaged_one_is_used(tiny_runs, whole, stopped, capsys, damage, name):
    """Catches a traceback, and a checkpoint that changes the weights in silence."""
    damage(stopped / "checkpoints" / "step_00000006" / name)
    assert_same_run(tiny_runs.train(stopped, *OFTEN), whole)
    output = capsys.readouterr().out
    assert "step_00000006 is damaged (" in output
    assert f"resuming from {stopped}/checkpoints/step_00000004" in output
    assert (stopped / "checkpoints" / "damaged-step_00000006").is_dir()


def test_a_file_of_another_step_is_damage(tiny_runs, whole, stopped):
    """Catches weights of one step with the optimizer of another."""
    checkpoints = stopped / "checkpoints"
    shutil.copy(checkpoints / "step_00000004" / "model.safetensors", checkpoints / "step_00000006")
    assert_same_run(tiny_runs.train(stopped, *OFTEN), whole)


def test_without_a_whole_checkpoint_training_begins_again(tiny_runs, whole, stopped):
    """Catches a run that can never be finished."""
    for folder in (stopped / "checkpoints").iterdir():
        empty(folder / "model.safetensors")
    assert_same_run(tiny_runs.train(stopped, *OFTEN), whole)


@pytest.mark.parametrize("name", ["step_old", "step_00000099", "step_00000006.bak", "step_12", "notes.txt"])
@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_what_is_no_checkpoint_is_ignored(tiny_runs, whole, stopped, name, is_folder):
    """Catches a copy or a note beside the checkpoints that ends a run."""
    path = stopped / "checkpoints" / name
    path.mkdir() if is_folder else path.write_text("")
    assert_same_run(tiny_runs.train(stopped, *OFTEN), whole)


@pytest.mark.parametrize("damage", [delete, empty, cut, zero, append], ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", ["config.yaml", "provenance.json"])
def test_a_damaged_record_is_one_line(tiny_runs, stopped, damage, name):
    """Catches a traceback, and a run that goes on without knowing what it is."""
    if name == "config.yaml" and damage is delete:
        pytest.skip("a folder without a run")
    damage(stopped / name)
    with pytest.raises(UserError, match=f"{name} cannot be read|holds a run with") as error:
        tiny_runs.train(stopped, *OFTEN)
    assert "\n" not in str(error.value)


@damaged_by
def test_lost_metrics_are_reported(tiny_runs, whole, stopped, capsys, damage):
    """Catches lines that vanish without a word, and weights that depend on them."""
    damage(stopped / "metrics.jsonl")
    tiny_runs.train(stopped, *OFTEN)
    torch.testing.assert_close(weights(stopped), weights(whole), rtol=0, atol=0)
    assert ("no readable line of" in capsys.readouterr().out) == (damage is not append)


@damaged_by
@pytest.mark.parametrize("name", CACHED)
def test_a_damaged_cache_is_made_again(tiny_runs, whole, tmp_path, capsys, damage, name):
    """Catches a traceback, and tokens that change every loss in silence."""
    cache = tmp_path / "cache"
    shutil.copytree(Path(tiny_runs.cache), cache)
    tokens = cache / f"tokens-{RunFolder(whole).provenance['data_fingerprint']}"
    damage(tokens / name)
    assert_same_run(tiny_runs.train(tmp_path / "run", *OFTEN, f"paths.cache_dir={cache}"), whole)
    assert f"making {tokens} again: " in capsys.readouterr().out


@damaged_by
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", DIGESTS])
def test_a_damaged_export_is_not_finished(tiny_runs, whole, tmp_path, capsys, damage, name):
    """Catches "already finished" said of zeros."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    damage(run / "export" / name)
    tiny_runs.train(run, *OFTEN)
    assert_same_run(run, whole)


@damaged_by
def test_a_start_from_a_damaged_export_is_refused(tiny_runs, whole, tmp_path, damage):
    """Catches hours of training on weights that are not those of the run."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    damage(run / "export" / "model.safetensors")
    with pytest.raises(UserError, match=r"export is damaged \(model.safetensors"):
        tiny_runs.train(tmp_path / "next", f"init_from={run}", task="classification")


@pytest.mark.slow
def test_nothing_is_unpickled(tiny_runs, stopped, tmp_path):
    """Catches a folder that runs somebody's code in the account of whoever resumes from it."""
    trace = tmp_path / "trace"
    planted = pickle.dumps(Planted(trace))
    pickle.loads(planted)  # it works
    trace.rmdir()
    files = [path.relative_to(stopped) for path in stopped.rglob("*") if path.is_file() and path.name != ".lock"]
    foreign = ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "pytorch_model.bin")
    files += [folder / name for folder in {file.parent for file in files} for name in foreign]
    for number, file in enumerate(files):
        run = shutil.copytree(stopped, tmp_path / str(number))
        (run / file).write_bytes(planted)
        with suppress(UserError):
            tiny_runs.train(run, *OFTEN)
        assert not trace.exists(), file
