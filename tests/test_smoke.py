"""debug=smoke: every recipe runs for two steps in an empty folder, without data, network or key."""

import json

import pytest
import yaml

from roformer.config import TrainConfig
from tests.commands import ROOT, Commands
from tests.tiny_runs import composed

FILES = {
    path.relative_to(ROOT / "conf/experiment").with_suffix("").as_posix(): yaml.safe_load(path.read_text())
    for path in sorted(ROOT.glob("conf/experiment/**/*.yaml"))
}
RECIPES = [name for name, content in FILES.items() if "runs" not in content]
FOR_EVALUATION = sorted(FILES.keys() - set(RECIPES))


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Runs commands like ``commands``, as on a machine without network, downloads of before, or a key of wandb."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.delenv("WANDB_API_KEY", raising=False)
        commands = Commands(tmp_path_factory.mktemp("output"))
    yield commands
    commands.close()


def smoke(offline, folder, recipe, *more):
    """Runs ``train.py`` with debug=smoke in a folder; returns the folder of its only run."""
    done = offline.run(ROOT / "train.py", f"experiment={recipe}", "debug=smoke", *more, cwd=folder)
    assert done.status == 0, done.stderr.read_text()
    (run,) = folder.glob("outputs/smoke/*")
    return run


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_runs_with_nothing_given(offline, tmp_path, recipe):
    """Catches a smoke test that needs files or the network, that tries another task, encoding, attention, tokenizer,
    optimizer or schedule than the recipe's, or that lies where the recipe's real runs will."""
    run = smoke(offline, tmp_path, recipe)
    assert [path.name for path in tmp_path.glob("outputs/*")] == ["smoke"]
    *_, last = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert last["step"] == 2
    assert json.loads((run / "export" / "config.json").read_text())["hidden_size"] == 32
    tried, asked = yaml.safe_load((run / "config.yaml").read_text()), composed("train", f"experiment={recipe}")
    for group in ("task", "position", "attention", "tokenizer", "optimizer", "scheduler"):
        if asked[group].name not in ("auto", "pretrained"):  # a measurement decides; it is on the hub
            assert tried[group]["name"] == asked[group].name


@pytest.mark.parametrize(
    ("overrides", "data", "tokenizer"),
    [
        (["experiment=paper/mlm"], {"name": "sentences", "texts": 1}, "wordpiece"),
        (["experiment=paper/mlm", "data=docs"], {"name": "docs"}, "wordpiece"),
        (["experiment=paper/mlm", "tokenizer=bytes"], {"name": "sentences"}, "bytes"),
        (["experiment=paper/mlm", "tokenizer.path=my"], {"name": "sentences"}, "pretrained"),
        (["experiment=paper/glue"], {"name": "sentences", "texts": 2}, "wordpiece"),
        (["experiment=paper/glue", "data.glue_task=stsb"], {"name": "sentences", "texts": 2}, "wordpiece"),
        (["experiment=paper/glue", "data.glue_task=rte", "data.path=my"], {"name": "glue", "path": "my"}, "wordpiece"),
        (["experiment=paper/chinese/stage1", "data.path=my"], {"name": "text", "path": "my"}, "words"),
        (["experiment=synthetic/recall"], {"name": "recall", "documents": 1000, "length": 62}, "wordpiece"),
        (["experiment=synthetic/recall", "data.documents=7"], {"name": "recall", "documents": 7}, "wordpiece"),
        (["~data.drop_repeated"], {"name": "docs"}, "wordpiece"),
    ],
)
def test_what_the_command_line_names_is_kept(overrides, data, tokenizer):
    """Catches a smoke test that replaces what the user has chosen, or keeps what has to be brought or downloaded."""
    config = TrainConfig.compose("debug=smoke", *overrides)
    assert config.data.items() >= data.items()
    assert config.tokenizer["name"] == tokenizer


@pytest.mark.parametrize(("task", "kind"), [("stsb", "regression"), ("rte", "classification")])
def test_the_task_is_that_of_the_data_that_are_replaced(task, kind):
    """Catches STS-B tried as a classification, because generated sentences are no GLUE task."""
    config = TrainConfig.compose("debug=smoke", "experiment=paper/glue", f"data.glue_task={task}")
    assert config.task["name"] == kind


@pytest.mark.parametrize("recipe", FOR_EVALUATION)
def test_a_recipe_for_evaluation_is_refused(offline, tmp_path, recipe):
    """Catches a hint to a setting experiment.runs, which does not exist."""
    done = offline.run(ROOT / "train.py", f"experiment={recipe}", "debug=smoke", cwd=tmp_path)
    assert done.status == 1
    (line,) = done.error_lines
    assert line.startswith("error: the configuration has no setting 'runs'; it is a setting of evaluate.py (")


@pytest.mark.slow
def test_a_sweep_is_tried_once(offline, tmp_path):
    """Catches a smoke test of hundreds of runs, because the recipe sweeps tasks, encodings, rates and seeds."""
    smoke(offline, tmp_path, "paper/glue", "-m")
