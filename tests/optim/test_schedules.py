"""Learning rates that rise and fall."""

import math

import pytest
import torch

from roformer.errors import UserError
from roformer.optim.schedules import SCHEDULES
from tests.tiny_runs import metrics


@pytest.fixture
def learning_rates():
    """Maps a schedule to the learning rate of each of so many steps, and the one after them."""

    def run(name, steps, warmup_ratio, **more):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = SCHEDULES.build({"name": name, "warmup_ratio": warmup_ratio, **more}).build(optimizer, steps)
        rates = []
        for _ in range(steps + 1):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return rates

    return run


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


def test_a_run_follows_its_schedule(tiny_runs, tmp_path):
    """Catches a schedule that steps once a process, once a part of a batch, or not at all."""
    settings = ("scheduler.warmup_ratio=0.25", "optimizer.learning_rate=0.001", "trainer.max_steps=8")
    run = tiny_runs.train(tmp_path / "run", *settings, "trainer.gradient_accumulation_steps=2")
    expected = [0.5, 1, *((8 - step) / 6 for step in range(3, 9))]  # the rate of the step to come
    assert [line["learning_rate"] for line in metrics(run)] == pytest.approx([1e-3 * rate for rate in expected])


def test_polynomial_falls_with_its_power_to_its_end(learning_rates):
    """Catches a power or an end that stay at transformers' defaults."""
    expected = [step / 5 for step in range(5)] + [0.1 + 0.9 * ((20 - step) / 15) ** 2 for step in range(5, 21)]
    assert learning_rates("polynomial", 20, 0.25, power=2.0, lr_end=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("decay_type", "shape"),
    [
        ("linear", lambda x: 1 - x),
        ("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2),
        ("1-sqrt", lambda x: 1 - math.sqrt(x)),
    ],
)
def test_wsd_rises_stays_and_falls_to_zero(learning_rates, decay_type, shape):
    """Catches a decay of another length or shape, one that starts at the end of the warm-up, and an end above 0."""
    expected = [step / 4 for step in range(4)] + [1.0] * 8 + [shape(step / 8) for step in range(9)]
    found = learning_rates("wsd", 20, 0.2, decay_ratio=0.4, decay_type=decay_type)
    assert found == pytest.approx(expected, abs=1e-12)


def test_wsd_ends_at_zero_where_both_shares_are_rounded_up(learning_rates):
    """Catches a decay that does not fit into the run: half of 7 steps is 4, twice."""
    rates = learning_rates("wsd", 7, 0.5, decay_ratio=0.5, decay_type="linear")
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 2 / 3, 1 / 3, 0])


def test_the_end_of_polynomial_is_below_the_rate(learning_rates):
    """Catches transformers' traceback, and its division by zero where nothing is left for the decay."""
    with pytest.raises(UserError, match=r"scheduler\.lr_end=1\.0 must be below optimizer\.learning_rate=1\.0"):
        learning_rates("polynomial", 20, 0.25, power=1.0, lr_end=1.0)
    with pytest.raises(UserError, match=r"scheduler\.warmup_ratio=0\.99 leaves none of 7 steps"):
        learning_rates("polynomial", 7, 0.99, power=1.0, lr_end=0.0)


WSD = {"name": "wsd", "warmup_ratio": 0.1, "decay_ratio": 0.2, "decay_type": "linear"}
POLYNOMIAL = {"name": "polynomial", "warmup_ratio": 0.1, "power": 1.0, "lr_end": 0.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "linaer", "warmup_ratio": 0.1}, "unknown scheduler 'linaer'; did you mean 'linear'?"),
        ({"name": "reduce_lr_on_plateau", "warmup_ratio": 0.1}, "unknown scheduler 'reduce_lr_on_plateau'"),
        ({"name": "cosine", "warmup_ratio": 1.5}, r"scheduler.warmup_ratio must lie in \[0, 1\], got 1.5"),
        ({**WSD, "decay_ratio": -0.5}, r"scheduler.decay_ratio must lie in \[0, 1\], got -0.5"),
        ({**WSD, "decay_ratio": 0.95}, "scheduler.warmup_ratio 0.1 and scheduler.decay_ratio 0.95 are more than 1"),
        ({**WSD, "decay_type": "sqrt"}, "decay_type='sqrt' is not possible .allowed: linear, cosine, 1-sqrt"),
        ({**POLYNOMIAL, "power": 0}, "scheduler.power must be above 0"),
        ({**POLYNOMIAL, "lr_end": -1.0}, "scheduler.lr_end must be 0 or more"),
        (
            {"name": "linear", "warmup_ratio": 0.1, "decay_ratio": 0.1},
            "scheduler 'linear' has no setting 'decay_ratio'",
        ),
    ],
)
def test_impossible_values_are_refused_by_name(settings, message):
    """Catches a run that dies in its first step, after the data has been prepared."""
    with pytest.raises(UserError, match=message) as error:
        SCHEDULES.build(settings)
    assert "\n" not in str(error.value)
