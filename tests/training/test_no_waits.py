"""The step of the trainer never waits for the device, and casts a weight once.

On ``meta`` tensors have shapes and no numbers: what a GPU would have to be asked for raises an error there.
"""

import json
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.runs import RunFolder
from roformer.tasks.factory import build_task
from roformer.training import results
from roformer.training.prefetch import make_batch
from roformer.training.results import StepResults
from roformer.training.trainer import Trainer

META = torch.device("meta")
OTHERS = {
    "regression": ("data=labeled", "data.label_column=grade", "data.text_column=[A,B]"),
    "matching": ("data=triplets",),
}
PACKED = ["mlm", "causal_lm", "char_lm", "classification", "token_classification", *OTHERS]


@pytest.fixture
def trainer_of(tiny_runs, tmp_path):
    """Returns a trainer before its first step."""
    triplets = tmp_path / "triplets.jsonl"
    rows = [
        {"A": f"oak sea {n} owl", "B": f"pan {n}", "C": f"{n} owl oak", "label": "BC"[n % 2], "grade": n / 10}
        for n in range(60)
    ]
    triplets.write_text("\n".join(map(json.dumps, rows)))

    def build(task, *overrides):
        more = (*OTHERS[task], f"data.path={triplets}") if task in OTHERS else ()
        config = tiny_runs.config(tmp_path / "run", *more, *overrides, task=task)
        return Trainer(config, build_task(config), RunFolder(config.output_dir), [])

    return build


@pytest.fixture
def on_meta(monkeypatch):
    """Moves a trainer to ``meta``, which knows no autocast, and from which no result can be copied."""

    def move(trainer):
        autocast, copied = torch.autocast, []
        monkeypatch.setattr(
            torch,
            "autocast",
            lambda device, **settings: nullcontext() if device == "meta" else autocast(device, **settings),
        )
        monkeypatch.setattr(results, "_on_its_way", lambda result: copied.append(result) or result)
        monkeypatch.setattr(type(trainer.accelerator), "device", META)
        trainer.unwrapped_model.to(META)
        trainer.results = StepResults(trainer.accelerator, trainer.optimizer)
        return copied

    return move


@pytest.mark.parametrize("task", PACKED)
def test_a_step_asks_the_device_for_nothing(trainer_of, on_meta, task):
    """Catches ``.item()``, ``.tolist()``, ``bool()``, ``nonzero()`` and masks as indices anywhere in a step."""
    trainer = trainer_of(task, "trainer.gradient_accumulation_steps=2")
    batch = make_batch(trainer, 0)
    copied = on_meta(trainer)
    trainer._train_step(*batch)
    (result,) = copied
    assert result.loss.device == result.norms.device == META
    assert len(result.norms) == len(result.names) > 10


@pytest.mark.parametrize("missing", ["document_lengths", "query_indices"])
def test_a_batch_that_says_less_is_asked_for(trainer_of, on_meta, missing):
    """Catches a test that cannot fail."""
    trainer = trainer_of("mlm")
    _, parts = batch = make_batch(trainer, 0)
    on_meta(trainer)
    del parts[0].inputs[missing]
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer._train_step(*batch)


class Casts(TorchDispatchMode):
    """Counts by shape the tensors that are cast to bfloat16."""

    def __init__(self):
        super().__init__()
        self.shapes = Counter()

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        if operation is torch.ops.aten._to_copy.default and named.get("dtype") == torch.bfloat16:
            self.shapes[arguments[0].shape] += 1
        return operation(*arguments, **(named or {}))


def test_weights_are_cast_once_a_step(trainer_of):
    """Catches a cast of all weights for every part of a batch."""
    layers = ("model.num_hidden_layers=1", "trainer.gradient_accumulation_steps=4", "trainer.precision=bf16")
    trainer = trainer_of("mlm", *layers)
    batch = make_batch(trainer, 0)
    with Casts() as casts:
        trainer._train_step(*batch)
    (layer,) = trainer.unwrapped_model.roformer.layers
    assert [casts.shapes[linear.weight.shape] for linear in (layer.query_key_value, layer.intermediate)] == [1, 1]
