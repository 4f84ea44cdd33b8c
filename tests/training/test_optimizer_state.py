"""Stages of one training: weights and optimizer state go from run to run."""

import shutil

import pytest
import torch

from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM, RoFormerLabConfig
from roformer.optim import OPTIMIZERS
from roformer.runs import RunFolder
from roformer.training import checkpoint
from roformer.training.optimizer_state import load_optimizer_state
from tests.tiny_runs import TinyRuns, optimizer_state


@pytest.fixture(scope="module", params=["adamw", "muon"])
def first(request, tmp_path_factory):
    """A tiny_runs, a finished first stage, and its optimizer."""
    tiny_runs = TinyRuns(tmp_path_factory.getbasetemp() / "tiny_runs")
    chosen = f"optimizer={request.param}"
    return tiny_runs, tiny_runs.train(tmp_path_factory.mktemp("stages") / "first", chosen), chosen


NEXT = ("optimizer.learning_rate=1e-30", "optimizer.weight_decay=0", "trainer.max_steps=1", "trainer.eval_steps=1")
DECAY = {"exp_avg_sq": 0.98, "momentum_buffer": 0.95}  # what a step leaves of a moment, before it adds the gradient's


@pytest.mark.parametrize("loaded", [True, False])
def test_a_stage_starts_with_the_state_of_the_one_before(first, tmp_path, loaded):
    """Catches an empty optimizer, one with the learning rate of the stage before, and state that nobody asked for."""
    tiny_runs, stage, optimizer = first
    more = (f"init_from={stage}", f"load_optimizer_state={str(loaded).lower()}", "task.sequence_length=16", *NEXT)
    second = tiny_runs.train(tmp_path / "second", optimizer, *more)
    before, after = optimizer_state(stage), optimizer_state(second)
    assert before.keys() == after.keys()
    steps = {value.item() for key, value in after.items() if key.endswith("step")}
    assert steps == {9.0 if loaded else 1.0}
    kept = {key: DECAY[key.split()[1]] for key in before if key.endswith(("exp_avg_sq", "momentum_buffer"))}
    assert {key.split()[1] for key in kept} == ({"exp_avg_sq"} if "adamw" in optimizer else set(DECAY))
    near = [
        torch.nn.functional.cosine_similarity(after[key].flatten(), before[key].flatten(), dim=0) > 0.9
        for key in kept
        if before[key].numel() > 100
    ]
    assert all(near) if loaded else not all(near)
    squares = [key for key in kept if key.endswith("exp_avg_sq")]  # to which a step only adds
    assert all(torch.all(after[key] >= 0.9999 * kept[key] * before[key]) for key in squares) == loaded
    stored = checkpoint.optimizer_state(next((second / "checkpoints").glob("step_*")))
    assert {group["initial_lr"] for group in stored["param_groups"]} == {1e-30}


def test_state_that_does_not_fit_is_refused(first, tmp_path):
    """Catches a traceback, state of other weights, and a stage that silently starts with an empty optimizer."""
    tiny_runs, stage, optimizer = first
    load = (optimizer, "load_optimizer_state=true")
    with pytest.raises(UserError, match="give init_from, or set it to false"):
        tiny_runs.train(tmp_path / "alone", *load)
    bare = tmp_path / "bare"
    shutil.copytree(stage / "export", bare)
    with pytest.raises(UserError, match=f"load_optimizer_state needs a checkpoint in init_from={bare}"):
        tiny_runs.train(tmp_path / "second", f"init_from={bare}", *load)
    with pytest.raises(UserError, match=f"the optimizer of init_from={stage} has other parameters"):
        tiny_runs.train(tmp_path / "second", f"init_from={stage}", *load, task="classification")
    other = "muon" if optimizer == "optimizer=adamw" else "adamw"
    with pytest.raises(UserError, match=f"trained with {optimizer}, not {other}; set load_optimizer_state=false"):
        tiny_runs.train(tmp_path / "second", f"init_from={stage}", *load, f"optimizer={other}")
    stopped = tiny_runs.train(tmp_path / "stopped", optimizer, "trainer.early_stopping_patience=9")
    with pytest.raises(UserError, match=f"init_from={stopped} exported its best state"):
        tiny_runs.train(tmp_path / "second", f"init_from={stopped}", *load)
    assert not (tmp_path / "second" / "config.yaml").exists()


@pytest.mark.parametrize(("added", "refused"), [(0, False), (8, True)])
def test_state_of_other_shapes_is_refused(first, added, refused):
    """Catches moments of one shape for a parameter of another, such as a classifier of other labels: torch takes
    them, and fails in the first step."""
    _, stage, _ = first
    settings = RunFolder(stage).config["optimizer"]
    config = RoFormerLabConfig.from_pretrained(stage / "export")
    config.intermediate_size += added
    model = RoFormerForMaskedLM(config)
    optimizer = OPTIMIZERS.build(settings).build(model)
    if refused:
        with pytest.raises(UserError, match=f"the optimizer of init_from={stage} has other parameters"):
            load_optimizer_state(optimizer, model, str(stage), settings["name"])
    else:
        load_optimizer_state(optimizer, model, str(stage), settings["name"])
    assert bool(optimizer.state) != refused
