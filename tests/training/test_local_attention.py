"""Runs with ``model.local_attention``: their exports keep it, and what starts from them has it."""

import json

import pytest

from roformer.errors import UserError
from roformer.runs import RunFolder
from tests.tiny_runs import metrics

LOCAL = ("model.local_attention=4", "model.global_attn_every_n_layers=2")


@pytest.fixture(scope="session")
def local(tiny_runs):
    """A finished MLM run, whose second layer attends to two tokens to each side."""
    return tiny_runs.train(tiny_runs.folder / "local", *LOCAL)


def settings(run):
    stored = json.loads((RunFolder(run).export / "config.json").read_text())
    return stored["local_attention"], stored["global_attn_every_n_layers"]


def test_a_run_is_trained_and_exported_with_it(tiny_runs, local, tmp_path):
    """Catches a setting that the trainer drops: from the first one on, losses would be those of full attention."""
    full = tiny_runs.train(tmp_path / "full")
    first, second = (metrics(run)[0]["loss"] for run in (local, full))
    assert first != second
    assert (settings(local), settings(full)) == ((4, 2), (None, 3))


def test_what_starts_from_it_has_it_unless_asked_otherwise(tiny_runs, local, tmp_path):
    """Catches weights that were trained with windows and go on without, because the yaml has none."""
    start = f"init_from={local}"
    same = tiny_runs.train(tmp_path / "same", start, task="classification")
    other = tiny_runs.train(tmp_path / "other", start, "model.local_attention=null", task="classification")
    assert (settings(same), settings(other)) == ((4, 2), (None, 2))
    assert metrics(same)[0]["loss"] != metrics(other)[0]["loss"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.local_attention=5",), "must be even and at least 2, or null for attention to all tokens, got 5"),
        ((*LOCAL, "attention=linear"), "LinearAttention attends to whole texts and has no local attention"),
        ((*LOCAL, "attention=favor_plus"), "FavorPlusAttention attends to whole texts and has no local attention"),
    ],
)
def test_impossible_windows_are_refused(overrides, message, tiny_runs, tmp_path):
    """Catches a run that starts and fails in its first step, or trains without the window."""
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run", *overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
