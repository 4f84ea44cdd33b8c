"""AdamW: which parameters decay, and which values are refused."""

import pytest

from roformer.errors import UserError
from roformer.optim import OPTIMIZERS

ADAMW = {"name": "adamw", "learning_rate": 0.1, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.5}


@pytest.mark.parametrize("encoding", ["rope", "learned"])
def test_norms_and_biases_do_not_decay(tiny_model, encoding):
    """Catches decay on gains and biases, which pulls them to 0 instead of 1, and a matrix that never decays."""
    model = tiny_model(encoding)
    decayed, kept = OPTIMIZERS.build(ADAMW).build(model).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)
    assert all(names[id(p)].endswith(".bias") or "norm" in names[id(p)] for p in kept["params"])
    assert not any(names[id(p)].endswith(".bias") or "norm" in names[id(p)] for p in decayed["params"])


def test_settings_reach_adamw(tiny_model):
    """Catches betas or eps that stay at PyTorch's default."""
    optimizer = OPTIMIZERS.build(ADAMW).build(tiny_model())
    assert {key: optimizer.defaults[key] for key in ("lr", "betas", "eps", "fused")} == {
        "lr": 0.1,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "fused": True,
    }


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("learning_rate", 0, "optimizer.learning_rate must be above 0, got 0"),
        ("learning_rate", float("nan"), "learning_rate must be a finite number, got nan"),
        ("eps", -1e-6, "optimizer.eps must be above 0, got -1e-06"),
        ("betas", [0.9, 1], r"optimizer.betas must lie in \[0, 1\), got 1"),
        ("betas", [0.9], r"optimizer.betas must be two numbers such as \[0.9, 0.98\], got \[0.9\]"),
        ("betas", ["a", 0.9], "optimizer.betas='a' is not possible"),
        ("weight_decay", -0.1, "optimizer.weight_decay must be 0 or more, got -0.1"),
        ("beta1", 0.9, "optimizer 'adamw' has no setting 'beta1'; did you mean 'betas'"),
    ],
)
def test_impossible_values_are_refused_by_name(setting, value, message):
    """Catches a run that dies, or climbs the gradient, after the data has been prepared."""
    with pytest.raises(UserError, match=message):
        OPTIMIZERS.build({**ADAMW, setting: value})
