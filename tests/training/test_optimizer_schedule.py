"""AdamW's groups, and learning rates that rise and fall."""

import math

import pytest
import torch

from roformer.config import OptimizerConfig, SchedulerConfig
from roformer.errors import UserError
from roformer.training.optimizer import build_optimizer, build_scheduler
from tests.workshop import metrics

ADAMW = OptimizerConfig(
    learning_rate=0.1, grid=None, carry=False, beta1=0.9, beta2=0.98, epsilon=1e-6, weight_decay=0.5
)


@pytest.fixture
def learning_rates():
    """Maps a schedule to the learning rate of each of so many steps, and the one after them."""

    def run(name, steps, warmup_ratio):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = build_scheduler(optimizer, SchedulerConfig(name, warmup_ratio), steps)
        rates = []
        for _ in range(steps + 1):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return rates

    return run


@pytest.mark.parametrize("encoding", ["rope", "learned"])
def test_norms_and_biases_do_not_decay(tiny_model, encoding):
    """Catches decay on gains and biases, which pulls them to 0 instead of 1, and a matrix that never decays."""
    model = tiny_model(encoding)
    decayed, kept = build_optimizer(model, ADAMW).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)
    assert all(names[id(p)].endswith(".bias") or "norm" in names[id(p)] for p in kept["params"])
    assert not any(names[id(p)].endswith(".bias") or "norm" in names[id(p)] for p in decayed["params"])


def test_settings_reach_adamw(tiny_model):
    """Catches betas or epsilon that stay at PyTorch's default."""
    optimizer = build_optimizer(tiny_model(), ADAMW)
    assert {key: optimizer.defaults[key] for key in ("lr", "betas", "eps")} == {
        "lr": 0.1,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
    }


def test_linear_rises_and_falls_to_zero(learning_rates):
    """Catches a warm-up in other units than shares of all steps, and an end above 0."""
    expected = [step / 5 for step in range(5)] + [(20 - step) / 15 for step in range(5, 21)]
    assert learning_rates("linear", 20, 0.25) == pytest.approx(expected)


def test_cosine_falls_along_half_a_wave(learning_rates):
    """Catches a wave of another length than the steps after the warm-up."""
    expected = [step / 5 for step in range(5)] + [
        (1 + math.cos(math.pi * (step - 5) / 15)) / 2 for step in range(5, 21)
    ]
    assert learning_rates("cosine", 20, 0.25) == pytest.approx(expected)


def test_inverse_sqrt_falls_with_the_root(learning_rates):
    """Catches a schedule that ignores the warm-up, whose end sets the time scale."""
    rates = learning_rates("inverse_sqrt", 20, 0.25)
    assert rates[:6] == pytest.approx([step / 5 for step in range(6)])
    assert rates[5] / rates[20] == pytest.approx((20 / 5) ** 0.5, rel=0.01)


def test_no_warm_up_starts_at_the_full_rate(learning_rates):
    """Catches a first step at rate 0, which trains nothing."""
    assert learning_rates("linear", 4, 0.0) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_a_run_follows_its_schedule(workshop, tmp_path):
    """Catches a schedule that steps once a process, once a part of a batch, or not at all."""
    settings = ("scheduler.warmup_ratio=0.25", "optimizer.learning_rate=0.001", "trainer.max_steps=8")
    run = workshop.train(tmp_path / "run", *settings, "trainer.gradient_accumulation_steps=2")
    expected = [0.5, 1, *((8 - step) / 6 for step in range(3, 9))]  # the rate of the step to come
    assert [line["learning_rate"] for line in metrics(run)] == pytest.approx([1e-3 * rate for rate in expected])


@pytest.mark.parametrize("name", ["linaer", "cosine_with_min_lr", "reduce_lr_on_plateau", "greedy"])
def test_schedules_that_need_more_or_do_not_exist_are_refused(name):
    """Catches a run that dies in its first step, after the data has been prepared."""
    with pytest.raises(UserError, match=f"scheduler.name: unknown '{name}'.*linear, cosine") as error:
        SchedulerConfig(name, 0.1)
    assert "\n" not in str(error.value)
