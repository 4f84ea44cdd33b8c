"""Files of version 0.1 are read by today's names."""

import pytest
import yaml

from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig
from roformer.data import SOURCES
from roformer.errors import UserError
from roformer.renamed import (
    CHOICES,
    OPTIMIZER_SETTINGS,
    POSITION_SETTINGS,
    current_attention,
    current_attention_name,
    current_data,
    current_model_config,
    current_position,
    current_training,
)
from roformer.runs.history import migrate
from tests.tiny_runs import composed

OLD_ROPE = {"name": "rope", "base": 500.0, "layout": "half", "partial_factor": 0.5}
NEW_ROPE = {
    "name": "rope", "rope_theta": 500.0, "layout": "half", "partial_rotary_factor": 0.5, "frequency_band": "all",
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD_ROPE, NEW_ROPE),
        ({**OLD_ROPE, "pairs": "slow"}, {**NEW_ROPE, "frequency_band": "low"}),
        ({**OLD_ROPE, "pairs": "fast"}, {**NEW_ROPE, "frequency_band": "high"}),
        (
            {"name": "randomized", "of": OLD_ROPE, "longest": 99},
            {"name": "randomized", "base_encoding": NEW_ROPE, "max_sampled_position": 99},
        ),
        ({"name": "t5", "buckets": 32, "max_distance": 8}, {"name": "t5", "num_buckets": 32, "max_distance": 8}),
        (
            {"name": "rope_yarn", "base": 1e4, "original_length": 512, "fast_turns": 32.0, "slow_turns": 1.0},
            {
                "name": "rope_yarn", "rope_theta": 1e4, "original_max_position_embeddings": 512, "beta_fast": 32.0,
                "beta_slow": 1.0,
            },
        ),
    ],
)  # fmt: skip
def test_old_position_settings_get_new_names(old, new):
    """Catches a setting of an old run that is lost, or has a name that its encoding refuses."""
    assert current_position(old) == new
    assert current_position(new) == new


@pytest.mark.parametrize("settings", [{"name": "sinusoidal", "base": 1e4}, {"name": "mine", "base": 1}, {}])
def test_other_settings_stay(settings):
    """Catches a rename that reaches an encoding whose setting has kept its name."""
    assert current_position(settings) == settings


def test_old_attention_backends_get_new_names():
    """Catches an export of a linear backend that can no longer be loaded."""
    assert current_attention_name("linear_softmax") == "efficient"
    assert current_attention_name("sdpa") == "sdpa"
    assert current_attention({"name": "performer"}) == {"name": "favor_plus", "num_features": None}
    config = {"position": OLD_ROPE, "attention_backend": "performer", "hidden_size": 8}
    assert current_model_config(config) == {
        "position": NEW_ROPE, "attention_backend": "favor_plus", "hidden_size": 8,
    }  # fmt: skip


def test_old_data_sources_get_new_names():
    """Catches a run on labeled data of 0.1 that cannot be resumed or evaluated any more, alone or in a mixture."""
    old, new = {"name": "labelled", "path": "x"}, {"name": "labeled", "path": "x"}
    assert current_data(old) == current_data(new) == new
    assert current_data({"name": "mixture", "sources": [old]}) == {"name": "mixture", "sources": [new]}
    config = yaml.safe_load(TrainConfig.compose("data=labeled", "data.path=x").to_yaml())
    config["data"]["name"] = "labelled"
    assert migrate(config)["data"]["name"] == "labeled"


def test_models_of_before_attend_to_all_tokens():
    """Catches an old run that today's command line cannot resume, because it has a setting that the run lacks."""
    config = yaml.safe_load(TrainConfig.compose("data=text", "data.path=x").to_yaml())
    today = dict(config["model"])
    for name in ("local_attention", "global_attn_every_n_layers"):
        del config["model"][name]
    assert migrate(config)["model"] == today
    assert today["local_attention"] is None


OLD_OPTIMIZER = {
    "learning_rate": 0.002, "grid": "outputs/grid", "carry": True, "beta1": 0.9, "beta2": 0.98, "epsilon": 1e-6,
    "weight_decay": 0.01,
}  # fmt: skip
NEW_OPTIMIZER = {"name": "adamw", "learning_rate": 0.002, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.01}
LINEAR = {"name": "linear", "warmup_ratio": 0.06}


def test_the_old_optimizer_group_becomes_adamw_and_two_settings_of_the_run():
    """Catches a run of 0.1 that today's code refuses to resume because its optimizer has no name."""
    old = {"seed": 1, "optimizer": dict(OLD_OPTIMIZER), "scheduler": LINEAR}
    new = {"seed": 1, "optimizer": NEW_OPTIMIZER, "scheduler": LINEAR}
    assert current_training(old) == {**new, "lr_search_dir": "outputs/grid", "load_optimizer_state": True}
    assert old["optimizer"] == OLD_OPTIMIZER
    for younger in ("grid", "carry"):
        del old["optimizer"][younger]
    assert current_training(old) == {**new, "lr_search_dir": None, "load_optimizer_state": False}
    current = {**new, "lr_search_dir": "a", "load_optimizer_state": True}
    assert current_training(current) == current


def test_an_old_polynomial_schedule_has_the_defaults_that_it_was_trained_with():
    """Catches a schedule that has settings of its own today, and had none."""
    old = {"optimizer": OLD_OPTIMIZER, "scheduler": {"name": "polynomial", "warmup_ratio": 0.1}}
    found = current_training(old)["scheduler"]
    assert found == {"name": "polynomial", "warmup_ratio": 0.1, "power": 1.0, "lr_end": 1e-7}


OVERRIDES = [
    *(
        ([f"position={name}", f"position.{old}=1"], new)
        for name in POSITION_SETTINGS
        for old, new in POSITION_SETTINGS[name].items()
    ),
    *(([f"optimizer.{old}=1"], new) for old, new in OPTIMIZER_SETTINGS.items()),
    *(([f"{group}={old}"], new) for group in CHOICES for old, new in CHOICES[group].items()),
]


@pytest.mark.parametrize(
    ("overrides", "new"), OVERRIDES, ids=lambda value: "-".join(value) if isinstance(value, list) else value
)
def test_an_old_name_on_the_command_line_gets_the_new_one(overrides, new):
    """Catches an old command that ends in a list of names to search."""
    with pytest.raises(SystemExit, match=f"^error: .*; it is now called '{new}'"):
        one_line_errors(composed)("train", *overrides)


def test_an_old_data_source_in_a_mixture_gets_the_new_name():
    """Catches an old yaml of one's own that ends in a list of names to search."""
    with pytest.raises(UserError, match="; it is now called 'labeled'"):
        SOURCES.check({"name": "labelled"})
