"""The learning rate of a grid: chosen on validation data, for the same encoding, written down, and kept to."""

import json
import shutil

import pytest
import yaml

from roformer.errors import UserError
from roformer.training.learning_rate import learning_rate_grid, resolve_learning_rate

RATES = (1e-4, 1e-2, 3e-3)


@pytest.fixture(scope="module")
def grid(workshop, tmp_path_factory):
    """Finished runs of two encodings at three rates."""
    folder = tmp_path_factory.mktemp("grid")
    for rate in RATES:
        for position in ("rope", "alibi"):
            workshop.train(folder / f"{position}-{rate}", f"position={position}", f"optimizer.learning_rate={rate}")
    return folder


def last_loss(run):
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["validation_loss"]


def test_the_best_rate_of_the_same_encoding_is_taken(workshop, grid, tmp_path):
    """Catches a rate chosen by training loss, for another encoding, or left out of the records."""
    losses = {rate: last_loss(grid / f"rope-{rate}") for rate in RATES}
    run = workshop.train(tmp_path / "run", f"optimizer.grid={grid}")
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["optimizer"]["learning_rate"] == min(losses, key=losses.get) != 1e-3
    recorded = json.loads((run / "provenance.json").read_text())["learning_rate_grid"]
    assert recorded == [[rate, losses[rate]] for rate in sorted(RATES)]


def test_validation_decides(workshop, grid, tmp_path):
    """Catches a minimum over the whole curve, or of another column: the end of the run counts."""
    shutil.copytree(grid, tmp_path / "grid")
    file = tmp_path / "grid" / "rope-0.0001" / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[-1]["validation_loss"] = 0.01
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = workshop.config("unused", f"optimizer.grid={tmp_path / 'grid'}")
    assert resolve_learning_rate(config) == 1e-4


def test_a_run_goes_on_with_the_rate_that_it_began_with(workshop, grid, tmp_path):
    """Catches a schedule that jumps because the grid has grown in between."""
    shutil.copytree(grid, tmp_path / "grid")
    run = tmp_path / "run"
    workshop.train(run, f"optimizer.grid={tmp_path / 'grid'}")
    shutil.rmtree(tmp_path / "grid")
    workshop.train(run, f"optimizer.grid={tmp_path / 'grid'}")  # finished: the same settings


def test_a_rate_of_the_user_and_a_grid_contradict_each_other(workshop, grid, tmp_path):
    """Catches a rate on the command line that is dropped in silence."""
    with pytest.raises(UserError, match="no effect with"):
        workshop.train(tmp_path / "run", f"optimizer.grid={grid}", "optimizer.learning_rate=0.5")
    assert not (tmp_path / "run").exists()


def test_an_encoding_that_is_not_in_the_grid_is_an_error(workshop, grid):
    """Catches a silent default."""
    with pytest.raises(UserError, match="no finished run with position=learned"):
        resolve_learning_rate(workshop.config("unused", f"optimizer.grid={grid}", "position=learned"))
    assert learning_rate_grid(workshop.config("unused")) is None


@pytest.mark.parametrize("other", ["position.base=500", "trainer.max_steps=9", "model.initializer_range=0.05"])
def test_a_grid_of_other_runs_does_not_count(workshop, grid, other):
    """Catches rates that were the best for another budget, model or variant of the encoding."""
    with pytest.raises(UserError, match=f"one there has another {other.split('=')[0]}"):
        resolve_learning_rate(workshop.config("unused", f"optimizer.grid={grid}", other))


def test_seeds_of_a_rate_are_averaged(workshop, grid, tmp_path):
    """Catches a lucky seed that decides."""
    shutil.copytree(grid, tmp_path / "grid")
    shutil.copytree(grid / "rope-0.01", tmp_path / "grid" / "second")
    file = tmp_path / "grid" / "second" / "metrics.jsonl"
    *lines, last = file.read_text().splitlines()
    file.write_text("\n".join([*lines, json.dumps({**json.loads(last), "validation_loss": 90.0})]) + "\n")
    found = learning_rate_grid(workshop.config("unused", f"optimizer.grid={tmp_path / 'grid'}"))
    assert found[0.01] == pytest.approx((90 + last_loss(grid / "rope-0.01")) / 2)


def test_a_grid_is_for_losses(workshop, grid):
    """Catches a classifier whose rate is chosen by the loss of another task."""
    config = workshop.config("unused", f"optimizer.grid={grid}", task="classification")
    with pytest.raises(UserError, match="validation loss of task=mlm"):
        resolve_learning_rate(config)
