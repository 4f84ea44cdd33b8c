"""Muon for the matrices of the layers and AdamW for the rest, as one optimizer that resumes exactly."""

import copy
import re
import shutil

import pytest
import torch

from roformer.errors import UserError
from roformer.model import RoFormerForConditionalGeneration, RoFormerLabConfig
from roformer.optim import OPTIMIZERS
from roformer.optim.schedules import SCHEDULES
from tests.choices import each_encoding
from tests.tiny_runs import assert_same_run

MUON = {
    "name": "muon", "learning_rate": 0.02, "adamw_learning_rate": 0.003, "momentum": 0.9,
    "adjust_lr_fn": "original", "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.5,
}  # fmt: skip
MATRIX = re.compile(r"(.*\.)?layers\.\d+\.(cross_attention\.)?\w+\.weight")


def build(model, **changes):
    return OPTIMIZERS.build({**MUON, **changes}).build(model)


def set_gradients(model, seed):
    """Gives each parameter a gradient drawn from this seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def train(model, optimizer, scheduler, steps):
    for step in steps:
        set_gradients(model, step)
        optimizer.step()
        scheduler.step()


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.fixture
def translator(sizes, position_settings):
    config = {**sizes, "position": position_settings["t5"], "decoder_layers": 1, "is_encoder_decoder": True}
    return RoFormerForConditionalGeneration(RoFormerLabConfig(**config, pad_token_id=0))


@each_encoding
def test_muon_gets_the_matrices_of_the_layers(tiny_model, encoding):
    """Catches a table of embeddings or positions, an output layer or a norm under Muon, and a matrix of a layer that
    is not; for every encoding."""
    model = tiny_model(encoding)
    muon, decayed, kept = build(model).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    in_layers = {
        name for name, parameter in model.named_parameters() if MATRIX.fullmatch(name) and parameter.dim() == 2
    }
    assert {names[id(p)] for p in muon["params"]} == in_layers
    assert len(in_layers) == 8
    assert all(p.dim() > 1 for p in decayed["params"])
    assert all(p.dim() <= 1 for p in kept["params"])
    found = [names.pop(id(p)) for group in (muon, decayed, kept) for p in group["params"]]
    assert any("word_embeddings" in name for name in found)
    assert not names


def test_cross_attention_is_a_layer_too_and_the_shared_embeddings_are_not(translator):
    """Catches a decoder whose attention to the encoder is left to AdamW, and a tied output layer under Muon."""
    names = {id(parameter): name for name, parameter in translator.named_parameters()}
    under_muon = {names[id(p)] for p in build(translator).param_groups[0]["params"]}
    assert {"decoder.layers.0.cross_attention.key_value.weight", "encoder.layers.1.output.weight"} <= under_muon
    assert all(MATRIX.fullmatch(name) for name in under_muon)
    assert len(under_muon) == 2 * 4 + 4 + 3


def test_each_part_updates_as_it_would_alone(tiny_model):
    """Catches settings that do not reach their part, and a parameter that is updated twice or never."""
    model = tiny_model("learned")
    alone = copy.deepcopy(model)
    optimizer = build(model)
    named = dict(alone.named_parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices, *others = ([named[names[id(p)]] for p in group["params"]] for group in optimizer.param_groups)
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.5, momentum=0.9, adjust_lr_fn="original")
    groups = [{"params": group, "weight_decay": decay} for group, decay in zip(others, (0.5, 0.0), strict=True)]
    adamw = torch.optim.AdamW(groups, lr=0.003, betas=(0.8, 0.95), eps=1e-6, fused=True)
    for step in range(3):
        for each in (model, alone):
            set_gradients(each, step)
        optimizer.step()
        muon.step()
        adamw.step()
    torch.testing.assert_close(weights(model), weights(alone), rtol=0, atol=0)


def test_both_parts_follow_one_schedule(tiny_model):
    """Catches a schedule that reaches one part only, and a part that takes the other's rate."""
    optimizer = build(model := tiny_model())
    scheduler = SCHEDULES.build({"name": "linear", "warmup_ratio": 0.5}).build(optimizer, 4)
    rates = []
    for step in range(4):
        rates.append([[group["lr"] for group in part.param_groups] for part in optimizer.parts])
        train(model, optimizer, scheduler, [step])
    factors = (0, 0.5, 1, 0.5)
    assert rates == [[[0.02 * factor], [0.003 * factor, 0.003 * factor]] for factor in factors]


def test_without_a_rate_of_its_own_adamw_has_that_of_muon(tiny_model):
    """Catches a learning-rate search that moves one part only."""
    groups = build(tiny_model(), adamw_learning_rate=None).param_groups
    assert [group["lr"] for group in groups] == [0.02] * 3


def test_state_resumes_exactly(tiny_model):
    """Catches moments, steps or rates of a part that a checkpoint lacks, or that loading leaves with the old ones."""
    straight, resumed = tiny_model(), tiny_model()
    linear = SCHEDULES.build({"name": "linear", "warmup_ratio": 0.5})
    optimizer = build(straight)
    train(straight, optimizer, linear.build(optimizer, 8), range(8))

    first = build(resumed)
    scheduler = linear.build(first, 8)
    train(resumed, first, scheduler, range(3))
    stored = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = build(resumed)
    scheduler = linear.build(second, 8)
    second.load_state_dict(stored[0])
    scheduler.load_state_dict(stored[1])
    train(resumed, second, scheduler, range(3, 8))
    torch.testing.assert_close(weights(resumed), weights(straight), rtol=0, atol=0)
    (found, expected) = (each.state_dict() for each in (second, optimizer))
    torch.testing.assert_close(found["state"], expected["state"], rtol=0, atol=0)
    assert found["param_groups"] == expected["param_groups"]


@pytest.mark.parametrize("task", ["mlm", "translation"])
def test_a_run_resumes_exactly(tiny_runs, tmp_path, task):
    """Catches state that does not survive Accelerate's checkpoints."""
    settings = ("optimizer=muon", "scheduler=wsd", "scheduler.decay_ratio=0.5")
    straight = tiny_runs.train(tmp_path / "straight", *settings, task=task)
    resumed = tmp_path / "resumed"
    shutil.copytree(straight, resumed)
    shutil.rmtree(resumed / "export")
    shutil.rmtree(resumed / "checkpoints" / "step_00000008")
    assert_same_run(tiny_runs.train(resumed, *settings, task=task), straight)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("learning_rate", -1, "optimizer.learning_rate must be above 0, got -1"),
        ("adamw_learning_rate", 0, "optimizer.adamw_learning_rate must be above 0, got 0"),
        ("momentum", 1, r"optimizer.momentum must lie in \[0, 1\), got 1"),
        ("adjust_lr_fn", "none", "adjust_lr_fn='none' is not possible .allowed: match_rms_adamw, original"),
        ("weight_decay", -1, "optimizer.weight_decay must be 0 or more"),
        ("eps", 0, "optimizer.eps must be above 0"),
    ],
)
def test_impossible_values_are_refused_by_name(setting, value, message):
    """Catches a run that dies after the data has been prepared."""
    with pytest.raises(UserError, match=message):
        OPTIMIZERS.build({**MUON, setting: value})
