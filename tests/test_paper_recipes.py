"""The recipes of the paper's experiments: full size is right, and two steps of each run, on data made here."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from roformer.config import TrainConfig, overridden_keys
from roformer.data.sources.glue import GLUE
from roformer.model import RoFormerForConditionalGeneration, RoFormerLabConfig
from roformer.model.encoder import RoFormerModel
from roformer.runs.history import read_config
from roformer.training.checkpoint import optimizer_state
from roformer.training.run import train
from tests.tiny_runs import ROOT, composed, metrics

RECIPES = sorted(
    str(path.relative_to(ROOT / "conf/experiment"))[: -len(".yaml")]
    for path in ROOT.glob("conf/experiment/paper/**/*.yaml")
)
STAGES = [recipe for recipe in RECIPES if "/stage" in recipe]
# parameters by hand, without those of tokens: two types, 12 x (4 x 768^2 + 8 x 768^2 + 13 x 768), norms
LAYERS = 12 * (12 * 768**2 + 13 * 768) + 2 * 768 + 2 * 768


MORE = {"chinese": "data.path=some/where", "glue": "data.glue_task=rte"}


@pytest.mark.parametrize(
    "recipe", [name for name in RECIPES if not name.endswith(("_small", "_tiny")) and "translation" not in name]
)
def test_full_size(recipe):
    """Catches a recipe at a toy's size, or with another model or vocabulary than the paper's."""
    more = [value for key, value in MORE.items() if key in recipe]
    config = TrainConfig.from_hydra(composed("train", f"experiment={recipe}", *more))
    with torch.device("meta"):
        model = RoFormerModel(RoFormerLabConfig(**config.model, position=config.position, vocab_size=1000))
    assert model.num_parameters() == 1000 * 768 + LAYERS
    if "stage" in recipe:
        assert config.tokenizer["vocab_size"] == 50_000
    elif recipe == "paper/char_lm":
        found = (config.length, config.trainer.batch_size, config.trainer.max_steps, config.optimizer["learning_rate"])
        assert found == (1024, 128, 100_000, 1e-4)
        assert (config.attention["name"], config.tokenizer["name"], config.data["name"]) == (
            "favor_plus",
            "bytes",
            "hub",
        )
    elif "mlm" in recipe:
        assert config.tokenizer == {"name": "pretrained", "path": "google-bert/bert-base-uncased"}
        found = (config.length, config.trainer.batch_size, config.trainer.max_steps, config.optimizer["learning_rate"])
        assert found == (512, 64, 100_000, 1e-5 if recipe == "paper/mlm" else 1e-4)


def test_translation_is_that_of_the_paper():
    """Catches another model than Transformer-base, and settings that were typed wrong."""
    config = TrainConfig.from_hydra(composed("train", "experiment=paper/translation"))
    settings = {**config.model, "position": config.position, "vocab_size": config.tokenizer["vocab_size"]}
    with torch.device("meta"):
        model = RoFormerForConditionalGeneration(RoFormerLabConfig(**settings, is_encoder_decoder=True))
    assert model.num_parameters() == 63_082_496
    trainer, scheduler = config.trainer, config.scheduler
    adam = {"name": "adamw", "learning_rate": 5e-4, "betas": [0.9, 0.98], "eps": 1e-9, "weight_decay": 0.0}
    assert config.optimizer == adam
    assert (scheduler["name"], scheduler["warmup_ratio"] * trainer.max_steps) == ("inverse_sqrt", 4000)
    assert (config.task["label_smoothing"], trainer.average_checkpoints) == (0.1, 5)
    assert (config.tokenizer["vocab_size"], config.data["text_column"]) == (
        37_000,
        ["translation.en", "translation.de"],
    )


def test_fine_tuning_is_that_of_the_paper():
    """Catches epochs, batches, lengths and rates that were typed wrong, and a start from another model."""

    def found(recipe):
        more = next(value for key, value in MORE.items() if key in recipe)
        config = TrainConfig.from_hydra(composed("train", f"experiment={recipe}", more, "position=learned"))
        trainer = config.trainer
        return config, (trainer.num_train_epochs, trainer.batch_size, config.length, config.optimizer["learning_rate"])

    glue, numbers = found("paper/glue")
    assert numbers == (3, 32, 512, 3e-5)
    assert glue.init_from == "outputs/paper/mlm_tuned_lr/learned-seed1"
    matching, numbers = found("paper/chinese/matching")
    assert numbers == (20, 4, 1024, 6e-6)
    assert (matching.task["pooling"], matching.init_from) == ("mean", "outputs/paper/chinese/learned-seed1-stage6")
    for task, head in (("stsb", "regression"), ("mrpc", "classification")):
        raw = composed("train", "experiment=paper/glue", f"data.glue_task={task}")
        assert TrainConfig.from_hydra(raw).task["name"] == head


def test_stages_are_those_of_table_4():
    """Catches a length, batch or number of steps that was typed wrong, and a stage that does not go on."""
    configs = [TrainConfig.from_hydra(composed("train", f"experiment={stage}", "data.path=x")) for stage in STAGES]
    found = [(config.length, config.trainer.batch_size, config.trainer.max_steps) for config in configs]
    assert found == [
        (512, 256, 200_000), (1536, 256, 12_500), (256, 256, 120_000), (128, 512, 80_000), (1536, 256, 10_000),
        (512, 512, 30_000),
    ]  # fmt: skip
    for before, config in pairwise(configs):
        assert (config.init_from, config.load_optimizer_state) == (str(before.output_dir), True)
    assert (configs[0].init_from, configs[0].load_optimizer_state) == (None, False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with texts, labeled texts, triplets, and GLUE tasks, of one file each."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("paper")
    words = ["oak", "sea", "pan", "今天", "法院", "合同", "天气", "law"]

    def write(place, columns, label):
        rows = [
            {
                **{column: " ".join(rng.choice(words, int(rng.integers(20, 60)))) for column in columns},
                "label": label(n),
            }
            for n in range(60)
        ]
        for file in ("train", "validation", "test"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    write("text", ["text"], lambda n: n)
    write("labeled", ["text"], lambda n: n % 3)
    write("pairs", ["en", "de"], lambda n: n)
    write("triplets", "ABC", lambda n: "BC"[n % 2])
    for name in ("mrpc", "stsb"):
        write(f"glue/{name}", GLUE[name].columns, lambda n: n % 2)
    return folder


@pytest.fixture
def smoke(data, tmp_path, monkeypatch):
    """Runs a recipe with debug=smoke in an empty folder; returns the run's folder."""
    monkeypatch.chdir(tmp_path)
    small = ["tokenizer.alphabet_size=30", "tokenizer.vocab_size=200", "trainer.precision=fp32"]
    given = {
        "mlm": ["data=text", f"data.path={data / 'text'}", "tokenizer=wordpiece"],
        "glue": [f"data.path={data / 'glue'}", "data.glue_task=mrpc"],
        "matching": [f"data.path={data / 'triplets'}"],
        "long": [f"data.path={data / 'labeled'}"],
        "char_lm": ["data=text", f"data.path={data / 'text'}"],
        "translation": ["data=parallel", f"data.path={data / 'pairs'}"],
        "stage": [f"data.path={data / 'text'}"],
    }

    def run(recipe, *more):
        (own,) = [overrides for key, overrides in given.items() if key in recipe.rpartition("/")[2]]
        without = {"translation": "tokenizer.alphabet", "char_lm": "tokenizer."}.get(
            recipe.split("/")[1].removesuffix("_small").removesuffix("_tiny"), "none"
        )
        starts = [] if any(override.startswith("init_from") for override in more) else small
        starts = [override.replace("size=200", "size=300") for override in starts if not override.startswith(without)]
        overrides = [f"experiment={recipe}", "debug=smoke", *own, *starts, *more]
        config = TrainConfig.compose(*overrides)
        train(config, overridden_keys(overrides))
        assert metrics(config.output_dir)[-1]["step"] == 2
        assert json.loads((config.output_dir / "export" / "config.json").read_text())["hidden_size"] == 32
        return config.output_dir

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [*(name for name in RECIPES if not name.endswith(("_small", "_tiny")) and name not in STAGES), STAGES[0]]
)
def test_each_recipe_runs_on_data_of_the_user(smoke, data, recipe):
    """Catches a smoke test that leaves the user's own data for generated ones."""
    assert read_config(smoke(recipe) / "config.yaml")["data"]["path"].startswith(str(data))


@pytest.mark.slow
def test_the_regression_of_glue_runs(smoke):
    """Catches a recipe whose task does not follow the data."""
    assert "validation_spearman" in metrics(smoke("paper/glue", "data.glue_task=stsb"))[-1]


@pytest.mark.slow
def test_one_after_another(smoke):
    """Catches a stage that does not go on where the one before it ended, and tasks that cannot start from the last."""
    folder = smoke(STAGES[0], "paths.output_dir=outputs/1")
    for number, stage in enumerate(STAGES[1:], start=2):
        folder = smoke(stage, f"init_from={folder}", "load_optimizer_state=true", f"paths.output_dir=outputs/{number}")
    steps = optimizer_state(next((folder / "checkpoints").glob("*")))["state"][0]["step"]
    assert steps == 2 * len(STAGES)
    smoke("paper/chinese/matching", f"init_from={folder}", "paths.output_dir=outputs/matching")
    smoke("paper/chinese/long", f"init_from={folder}", "paths.output_dir=outputs/long")
