"""The recipes of the paper's experiments: full size is right, and two steps of each run, on data made here."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from roformer.build import resolve_checkpoint
from roformer.config import TrainConfig
from roformer.data.glue import GLUE
from roformer.model import RoFormerConfig, RoFormerForMaskedLM
from roformer.training.trainer import train
from tests.workshop import ROOT, composed, metrics

RECIPES = sorted(
    str(path.relative_to(ROOT / "conf/experiment"))[: -len(".yaml")]
    for path in ROOT.glob("conf/experiment/paper/**/*.yaml")
)
STAGES = [recipe for recipe in RECIPES if "/stage" in recipe]
# parameters by hand: tokens x 768, two types, 12 x (4 x 768^2 + 8 x 768^2 + 13 x 768), norms, the head
LAYERS = 12 * (12 * 768**2 + 13 * 768) + 2 * 768 + 2 * 768
HEAD = 768**2 + 3 * 768


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "paper/mlm_small"])
def test_full_size(recipe):
    """Catches a recipe at a toy's size, or with another model than the paper's."""
    more = ["data.path=some/where"] if "chinese" in recipe else ["data.glue_task=rte"] if "glue" in recipe else []
    config = TrainConfig.from_hydra(composed("train", f"experiment={recipe}", *more))
    vocabulary = 50_000 if "chinese" in recipe else 30_522
    with torch.device("meta"):
        model = RoFormerForMaskedLM(RoFormerConfig(**config.model, position=config.position, vocab_size=vocabulary))
    assert model.num_parameters() == vocabulary * (768 + 1) + LAYERS + HEAD
    assert config.trainer.batch_size * config.length >= 2048


def test_stages_are_those_of_table_4():
    """Catches a length, batch or number of steps that was typed wrong, and a stage that does not go on."""
    configs = [TrainConfig.from_hydra(composed("train", f"experiment={stage}", "data.path=x")) for stage in STAGES]
    found = [(config.length, config.trainer.batch_size, config.trainer.max_steps) for config in configs]
    assert found == [
        (512, 256, 200_000), (1536, 256, 12_500), (256, 256, 120_000), (128, 512, 80_000), (1536, 256, 10_000),
        (512, 512, 30_000),
    ]  # fmt: skip
    for before, config in pairwise(configs):
        assert (config.init_from, config.optimizer.carry) == (str(before.output_dir), True)
    assert (configs[0].init_from, configs[0].optimizer.carry) == (None, False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with texts, labelled texts, triplets, and GLUE tasks, of one file each."""
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
    write("labelled", ["text"], lambda n: n % 3)
    write("triplets", "ABC", lambda n: "BC"[n % 2])
    for name in ("mrpc", "stsb"):
        write(f"glue/{name}", GLUE[name].columns, lambda n: n % 2)
    return folder


@pytest.fixture
def smoke(data, tmp_path, monkeypatch):
    """Runs a recipe with debug=smoke in an empty folder; returns the run's folder."""
    monkeypatch.chdir(tmp_path)
    text = ["data=text", f"data.path={data / 'text'}"]
    given = {
        "paper/mlm": [*text, "tokenizer=wordpiece", "tokenizer.alphabet_size=30", "tokenizer.vocab_size=200"],
        "paper/glue": [f"data.path={data / 'glue'}", "data.glue_task=mrpc"],
        "paper/chinese/matching": [f"data.path={data / 'triplets'}"],
        "paper/chinese/long": [f"data.path={data / 'labelled'}"],
        STAGES[0]: [f"data.path={data / 'text'}", "tokenizer.alphabet_size=30", "tokenizer.vocab_size=200"],
        **{stage: [f"data.path={data / 'text'}"] for stage in STAGES[1:]},
    }
    given["paper/mlm_sane"] = given["paper/mlm_small"] = given["paper/mlm"]

    def run(recipe, *more):
        overrides = [f"experiment={recipe}", "debug=smoke", "trainer.precision=fp32", *given[recipe], *more]
        config = TrainConfig.from_hydra(composed("train", *overrides))
        chosen = frozenset(override.key_or_group for override in OverridesParser.create().parse_overrides(overrides))
        assert resolve_checkpoint(config, chosen).length == config.length
        train(config, chosen)
        assert metrics(config.output_dir)[-1]["step"] == 2
        return config.output_dir

    return run


@pytest.mark.parametrize("recipe", ["paper/mlm", "paper/mlm_sane", "paper/mlm_small"])
def test_pretraining(smoke, recipe):
    """Catches a recipe that composes and does not run."""
    assert (smoke(recipe) / "export" / "model.safetensors").is_file()


def test_glue(smoke):
    """Catches a fine-tuning that does not find the model that it starts from."""
    smoke("paper/mlm_sane")
    smoke("paper/glue")
    smoke("paper/glue", "data.glue_task=stsb")


def test_chinese(smoke):
    """Catches a stage that does not go on where the one before it ended, and tasks that do not find the last."""
    for stage in STAGES:
        folder = smoke(stage)
    smoke("paper/chinese/matching")
    smoke("paper/chinese/long")
    steps = torch.load(next((folder / "checkpoints").glob("*")) / "optimizer.bin")["state"][0]["step"]
    assert steps == 2 * len(STAGES)
