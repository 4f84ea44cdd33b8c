"""TensorBoard's event files."""

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
