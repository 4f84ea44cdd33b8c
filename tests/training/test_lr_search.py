"""A learning-rate search: the rate is chosen on validation data, for the same encoding, recorded, and kept."""

import json
import shutil

import pytest
import yaml

from roformer.errors import UserError
from roformer.training.lr_search import best_rate, describe_choice, search_results

RATES = (1e-4, 1e-2, 3e-3)


@pytest.fixture(scope="module")
def grid(tiny_runs, tmp_path_factory):
    """Finished runs of two encodings at three rates."""
    folder = tmp_path_factory.mktemp("grid")
    for rate in RATES:
        for position in ("rope", "alibi"):
            tiny_runs.train(folder / f"{position}-{rate}", f"position={position}", f"optimizer.learning_rate={rate}")
    return folder


def change(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def set_last_loss(run, loss):
    """Makes a run end with this validation loss."""
    *lines, last = (run / "metrics.jsonl").read_text().splitlines()
    lines.append(json.dumps({**json.loads(last), "validation_loss": loss}))
    (run / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))


def last_loss(run):
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["validation_loss"]


def test_the_best_rate_of_the_same_encoding_is_taken(tiny_runs, grid, tmp_path):
    """Catches a rate chosen by training loss, for another encoding, or missing from the records."""
    losses = {rate: last_loss(grid / f"rope-{rate}") for rate in RATES}
    run = tiny_runs.train(tmp_path / "run", f"lr_search_dir={grid}")
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["optimizer"]["learning_rate"] == min(losses, key=losses.get) != 1e-3
    recorded = json.loads((run / "provenance.json").read_text())["learning_rate_grid"]
    assert recorded == [[rate, losses[rate]] for rate in sorted(RATES)]


def test_validation_decides(tiny_runs, grid, tmp_path):
    """Catches a minimum over the whole curve, or of another column: the end of the run counts."""
    shutil.copytree(grid, tmp_path / "grid")
    set_last_loss(tmp_path / "grid" / "rope-0.0001", 0.01)
    config = tiny_runs.config("unused", f"lr_search_dir={tmp_path / 'grid'}")
    assert best_rate(search_results(config)) == 1e-4


def test_a_run_goes_on_with_the_rate_that_it_began_with(tiny_runs, grid, tmp_path):
    """Catches a schedule that jumps because the grid has grown in between."""
    shutil.copytree(grid, tmp_path / "grid")
    run = tmp_path / "run"
    tiny_runs.train(run, f"lr_search_dir={tmp_path / 'grid'}")
    shutil.rmtree(tmp_path / "grid")
    tiny_runs.train(run, f"lr_search_dir={tmp_path / 'grid'}")  # finished: the same settings


def test_a_rate_of_the_user_and_a_grid_contradict_each_other(tiny_runs, grid, tmp_path):
    """Catches a rate on the command line that is dropped in silence."""
    with pytest.raises(UserError, match="no effect with"):
        tiny_runs.train(tmp_path / "run", f"lr_search_dir={grid}", "optimizer.learning_rate=0.5")
    assert not (tmp_path / "run").exists()


def test_an_encoding_that_is_not_in_the_grid_is_an_error(tiny_runs, grid):
    """Catches a silent default."""
    with pytest.raises(UserError, match="no finished run with position=learned"):
        search_results(tiny_runs.config("unused", f"lr_search_dir={grid}", "position=learned"))
    assert search_results(tiny_runs.config("unused")) is None


@pytest.mark.parametrize("other", ["position.rope_theta=500", "trainer.max_steps=9", "model.initializer_range=0.05"])
def test_a_grid_of_other_runs_does_not_count(tiny_runs, grid, other):
    """Catches rates that were the best for another budget, model or variant of the encoding."""
    with pytest.raises(UserError, match=rf"rope-0.01 has {other.split('=')[0]}="):
        search_results(tiny_runs.config("unused", f"lr_search_dir={grid}", other))


def test_seeds_that_all_rates_have_are_averaged(tiny_runs, grid, tmp_path):
    """Catches a lucky seed that decides, and rates that are compared over different seeds."""
    folder = tmp_path / "grid"
    shutil.copytree(grid, folder)

    def add(rate, loss):
        run = folder / f"rope-{rate}-seed2"
        shutil.copytree(grid / f"rope-{rate}", run)
        change(run / "config.yaml", "seed: 1", "seed: 2")
        set_last_loss(run, loss)

    config = tiny_runs.config("unused", f"lr_search_dir={folder}")
    alone = {rate: last_loss(grid / f"rope-{rate}") for rate in sorted(RATES)}
    add(0.01, 0.5)
    assert search_results(config) == alone  # seed 2 has this rate only
    add(0.0001, 90.0)
    add(0.003, 90.0)
    found = search_results(config)
    assert found[0.0001] == pytest.approx((90 + alone[0.0001]) / 2)
    assert best_rate(found) == 0.01


def test_a_rate_that_diverged_is_not_taken(tiny_runs, grid, tmp_path, capsys):
    """Catches a loss that is no number and wins, and a grid that waits for ever for a run that cannot end."""
    folder = tmp_path / "grid"
    shutil.copytree(grid, folder)
    with pytest.raises(UserError, match=r"lower optimizer\.learning_rate"):
        tiny_runs.train(folder / "diverged", "optimizer.learning_rate=1e30")
    run = tiny_runs.train(tmp_path / "run", f"lr_search_dir={folder}")
    recorded = json.loads((run / "provenance.json").read_text())["learning_rate_grid"]
    assert recorded[-1] == [1e30, None]
    assert all(loss for _, loss in recorded[:-1])


def test_a_run_that_has_not_ended_is_waited_for(tiny_runs, grid, tmp_path):
    """Catches a choice among the rates that happen to be there already."""
    folder = tmp_path / "grid"
    shutil.copytree(grid, folder)
    shutil.rmtree(folder / "rope-0.01" / "export")
    with pytest.raises(UserError, match=r"rope-0\.01, a run of lr_search_dir, has not finished"):
        search_results(tiny_runs.config("unused", f"lr_search_dir={folder}"))


def test_a_best_rate_at_the_edge_is_reported():
    """Catches a grid that ends too soon and does not say so."""
    assert describe_choice({0.1: 3.0, 0.2: 2.0, 0.4: 2.5}, "outputs/grid") == "the best in outputs/grid"
    edge = describe_choice({0.1: 3.0, 0.2: 2.0}, "outputs/grid")
    assert edge == "the best in outputs/grid, at the edge of the rates tried"


def test_a_grid_is_for_losses(tiny_runs, grid):
    """Catches a classifier whose rate is chosen by the loss of another task."""
    config = tiny_runs.config("unused", f"lr_search_dir={grid}", task="classification")
    with pytest.raises(UserError, match="validation loss of a language model"):
        search_results(config)
