"""A step that finds no memory."""

import pytest
import torch

from roformer.training.trainer import Trainer
from tests.tiny_runs import assert_same_run, metrics

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.fixture
def small_memory(monkeypatch):
    """Lets a step fail that has more than so many sequences in memory at once."""

    def limit(sequences):
        step = Trainer._train_step

        def limited(self, num_items, parts):
            if max(len(part.inputs["cu_seqlens"]) - 1 for part in parts) > sequences:
                raise torch.OutOfMemoryError(MESSAGE)
            step(self, num_items, parts)

        monkeypatch.setattr(Trainer, "_train_step", limited)

    return limit


def test_batches_are_cut_until_they_fit(tiny_runs, tmp_path, small_memory, capsys):
    """Catches another batch size, a step that is lost, and a resumed run that finds no memory again."""
    fits = tiny_runs.train(tmp_path / "fits", "trainer.gradient_accumulation_steps=4", task="classification")
    small_memory(2)
    run = tiny_runs.train(tmp_path / "run", "trainer.auto_batch=true", task="classification")
    told = [line for line in capsys.readouterr().out.splitlines() if "out of memory" in line]
    assert [line.rpartition("=")[2] for line in told] == ["2", "4"]
    assert_same_run(run, fits)
    assert len(metrics(run)) == 8


@pytest.mark.parametrize(("sequences", "asked"), [(2, "false"), (0, "true")])
def test_without_a_remedy_the_error_stays(tiny_runs, tmp_path, small_memory, sequences, asked):
    """Catches a loop without end at one sequence, and batches that are cut although nobody asked."""
    small_memory(sequences)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        tiny_runs.train(tmp_path / "run", f"trainer.auto_batch={asked}", task="classification")


def test_another_error_is_not_about_memory(tiny_runs, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("shape")

    monkeypatch.setattr(Trainer, "_train_step", fail)
    with pytest.raises(RuntimeError, match="shape"):
        tiny_runs.train(tmp_path / "run", "trainer.auto_batch=true")
