"""TensorBoard's event files."""

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from roformer.training.callbacks import Callback
from tests.tiny_runs import metrics


def test_tensorboard_gets_every_number(tiny_runs, tmp_path):
    """Catches curves with other values or steps than metrics.jsonl."""
    run = tiny_runs.train(tmp_path / "run", "tracker=tensorboard")
    events = min(run.rglob("events.out.tfevents.*"), key=lambda file: len(file.parts))  # those below hold the settings
    assert events.parent == run / "roformer"
    curves = EventAccumulator(str(events.parent)).Reload()
    for key in ("loss", "learning_rate", "validation_loss"):
        expected = {line["step"]: line[key] for line in metrics(run) if key in line}
        assert {event.step: event.value for event in curves.Scalars(key)} == pytest.approx(expected)
    settings = yaml.safe_load(next(events.parent.rglob("hparams.yml")).read_text())["config"]
    assert yaml.safe_load(settings) == yaml.safe_load((run / "config.yaml").read_text())


def test_a_killed_part_leaves_no_points(tiny_runs, tmp_path):
    """Catches a curve with two points for each step that was logged after the last checkpoint."""

    class Crash(Callback):
        def before_step(self, trainer):
            if trainer.state.step == 7:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        tiny_runs.train(tmp_path / "run", "tracker=tensorboard", callbacks=[Crash()])
    run = tiny_runs.train(tmp_path / "run", "tracker=tensorboard")
    curves = EventAccumulator(str(run / "roformer"), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in curves.Scalars("loss")] == list(range(1, 9))
