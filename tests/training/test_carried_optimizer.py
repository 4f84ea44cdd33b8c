"""Stages of one training: weights and the moments of the optimizer go from run to run."""

import shutil

import pytest
import torch

from roformer.errors import UserError
from tests.workshop import Workshop, optimizer_state


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A finished first stage."""
    workshop = Workshop(tmp_path_factory.getbasetemp() / "workshop")
    return workshop, workshop.train(tmp_path_factory.mktemp("stages") / "first")


NEXT = ("optimizer.learning_rate=1e-30", "optimizer.weight_decay=0", "trainer.max_steps=1", "trainer.eval_steps=1")


def squares(run):
    """The second moments, by parameter."""
    return {key: value for key, value in optimizer_state(run).items() if key.endswith("exp_avg_sq")}


@pytest.mark.parametrize("carry", [True, False])
def test_moments_are_carried(first, tmp_path, carry):
    """Catches a stage that begins with an empty optimizer, one that takes its learning rate too, and a carrying that
    nobody asked for."""
    workshop, stage = first
    more = (f"init_from={stage}", f"optimizer.carry={str(carry).lower()}", "task.sequence_length=16", *NEXT)
    second = workshop.train(tmp_path / "second", *more)
    steps = {value.item() for key, value in optimizer_state(second).items() if key.endswith("step")}
    assert steps == {9.0 if carry else 1.0}
    before, after, beta2 = squares(stage), squares(second), workshop.config("unused").optimizer.beta2
    # each step leaves this much of them, and adds squares
    assert all(torch.all(after[key] >= 0.9999 * beta2 * before[key]) for key in before) == carry
    stored = torch.load(next((second / "checkpoints").glob("step_*")) / "optimizer.bin")
    assert {group["initial_lr"] for group in stored["param_groups"]} == {1e-30}


def test_what_cannot_be_carried_is_told(first, tmp_path):
    """Catches a traceback, and a stage that silently begins anew."""
    workshop, stage = first
    with pytest.raises(UserError, match="give init_from, or set it to false"):
        workshop.train(tmp_path / "alone", "optimizer.carry=true")
    bare = tmp_path / "bare"
    shutil.copytree(stage / "export", bare)
    with pytest.raises(UserError, match=f"optimizer.carry needs a checkpoint in init_from={bare}"):
        workshop.train(tmp_path / "second", f"init_from={bare}", "optimizer.carry=true")
    with pytest.raises(UserError, match=f"the optimizer of init_from={stage} is not for these parameters"):
        workshop.train(tmp_path / "second", f"init_from={stage}", "optimizer.carry=true", task="classification")
    stopped = workshop.train(tmp_path / "stopped", "trainer.early_stopping_patience=9")
    with pytest.raises(UserError, match=f"init_from={stopped} exported its best state"):
        workshop.train(tmp_path / "second", f"init_from={stopped}", "optimizer.carry=true")
    assert not (tmp_path / "second" / "config.yaml").exists()
