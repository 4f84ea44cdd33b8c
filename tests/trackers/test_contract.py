"""What every tracker does: it refuses to be chosen without its library, and works on the main process only."""

import pytest

from roformer import extras
from roformer.errors import UserError
from roformer.trackers import TRACKERS


@pytest.mark.parametrize("name", [name for name in TRACKERS if TRACKERS[name].package])
def test_a_missing_library_is_named_before_anything_is_done(tiny_runs, monkeypatch, tmp_path, name):
    """Catches an ImportError after the data has been prepared."""
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run", f"tracker.name={name}")
    extra = extras.EXTRA_OF[name]
    assert str(error.value) == (
        f"tracker={name} needs the package {name}: pip install 'roformer-lab[{extra}]', or choose tracker=none"
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(tiny_runs, tmp_path):
    """Catches a typing error that turns tracking off."""
    with pytest.raises(UserError, match="unknown tracker 'wanbd'; did you mean 'wandb'"):
        tiny_runs.train(tmp_path / "run", "tracker.name=wanbd")


@pytest.mark.parametrize("name", [name for name in TRACKERS if TRACKERS[name].package])
def test_a_tracker_that_was_not_started_does_nothing(monkeypatch, name):
    """Catches a second process that opens its own curves, or fails because it has none."""
    monkeypatch.setattr(extras, "find_spec", lambda package: True)
    tracker = TRACKERS.build({"name": name, "project": "p"})
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
