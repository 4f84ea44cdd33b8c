"""Every yaml in conf/: it composes, what it names exists, and what it describes can be built."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from roformer.attention import ATTENTION_BACKENDS
from roformer.config import EvaluateConfig, TrainConfig, data_name
from roformer.data import SOURCES
from roformer.data.corpus import Corpus, source_settings
from roformer.errors import UserError
from roformer.optim.schedules import SCHEDULES
from roformer.position import POSITION_ENCODINGS
from roformer.tasks import TASKS
from roformer.tasks.factory import build_task
from roformer.tokenizer import TOKENIZERS
from roformer.trackers import TRACKERS
from roformer.training.validation import validate
from roformer.training.warm_start import build_model
from tests.choices import each_encoding, one_for_each_hook
from tests.tiny_runs import ROOT, composed, metrics

CHOICES = sorted(str(path.relative_to(ROOT / "conf"))[: -len(".yaml")] for path in ROOT.glob("conf/*/**/*.yaml"))
CHOICES.remove("experiment/compare")  # for evaluate.py
EXPERIMENTS = [choice.partition("/")[2] for choice in CHOICES if choice.startswith("experiment/")]
REGISTRIES = {
    "position": POSITION_ENCODINGS,
    "attention": ATTENTION_BACKENDS,
    "task": TASKS,
    "tokenizer": TOKENIZERS,
    "scheduler": SCHEDULES,
    "tracker": TRACKERS,
}


def content(choice):
    return yaml.safe_load((ROOT / "conf" / f"{choice}.yaml").read_text())


def names(group):
    return sorted(Path(choice).name for choice in CHOICES if Path(choice).parent == Path(group))


@pytest.fixture
def chosen(tiny_runs):
    """The configuration with that choice; the path of a real folder stands for whatever its yaml asks the user for."""

    def choose(choice, *overrides):
        group, _, name = choice.partition("/")
        given = [f"{group}={name}", *(["task=translation"] if name.startswith("seq2seq") else []), *overrides]
        data = composed("train", *given).data
        given += [f"data.{key}={tiny_runs.text}" for key in data if OmegaConf.is_missing(data, key)]
        return TrainConfig.from_hydra(composed("train", *given))

    return choose


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_can_be_made_and_built(chosen, choice):
    """Catches a yaml with a misspelt key, a missing value or a wrong type: config rot."""
    config = chosen(choice)
    if package := TRACKERS[config.tracker["name"]].package:
        pytest.importorskip(package)
    validate(config)
    SOURCES.check(source_settings(config.data))
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=config.optimizer["learning_rate"])
    SCHEDULES.build(config.scheduler).build(optimizer, 100)


@pytest.mark.parametrize("name", names("data"))
def test_each_corpus_is_described_without_the_network(chosen, name, monkeypatch):
    """Catches a source that cannot take the settings of its yaml, or downloads before it is asked for documents."""
    monkeypatch.setattr("datasets.load_dataset", None)  # calling it would fail
    asked = [key for key, value in content(f"data/{name}").items() if value == "???"]
    settings = chosen(f"data/{name}").data
    try:
        Corpus.from_settings(settings)
    except UserError as error:  # the stand-in for the user's own value may be refused, by the name of its key
        if not any(f"data.{key}" in str(error) for key in asked):
            raise


def test_each_source_has_a_yaml():
    """Catches a source that nobody can choose; several yamls may describe one source, such as ``hub``."""
    assert {content(f"data/{name}")["name"] for name in names("data")} == set(SOURCES)


@pytest.mark.parametrize("registry", [*REGISTRIES.values(), SOURCES], ids=lambda registry: registry.kind)
def test_each_class_is_in_the_file_of_its_name(registry):
    """Catches a file whose name does not lead from a yaml to its class."""
    assert [registry[name].__module__.rpartition(".")[2] for name in registry] == list(registry)


@pytest.mark.parametrize("group", REGISTRIES)
def test_each_class_has_a_yaml_of_its_name(group):
    """Catches a class that nobody can choose, and a yaml whose name is not what runs are called."""
    assert names(group) == list(REGISTRIES[group])
    for name in names(group):
        settings = content(f"{group}/{name}")
        assert settings.get(group, settings)["name"] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_wins_over_the_defaults_and_the_user_over_both(chosen, name):
    """Catches ``_self_`` at the wrong place in a defaults list: the recipe would then be ignored in silence."""
    own = content(f"experiment/{name}")
    config = chosen(f"experiment/{name}")
    for group in ("trainer", "optimizer", "tokenizer", "task"):
        settings = getattr(config, group)
        stored = settings if isinstance(settings, dict) else vars(settings)
        own_values = {key: value for key, value in own.get(group, {}).items() if "${" not in str(value)}
        assert stored.items() >= own_values.items()
    for override in own["defaults"]:
        if isinstance(override, str):  # another recipe that this one changes
            assert override in ("_self_", *EXPERIMENTS)
            continue
        ((group, choice),) = override.items()
        assert choice in names(group.removeprefix("override /"))
    assert chosen(f"experiment/{name}", "trainer.save_steps=77").trainer.save_steps == 77
    assert (config.init_from is None) == ("init_from" not in own)


@pytest.mark.parametrize(("position", "seed"), [("learned", 3), ("rope", 1)])
def test_the_demo_fine_tunes_what_it_pretrained(chosen, position, seed):
    """Catches two recipes that no longer agree on the folder that links them."""
    overrides = (f"position={position}", f"seed={seed}")
    pretraining, finetuning = (chosen(f"experiment/demo/{part}", *overrides) for part in ("pretrain", "finetune"))
    assert finetuning.init_from == str(pretraining.output_dir)
    assert finetuning.output_dir != pretraining.output_dir


@pytest.mark.parametrize("file", ["Makefile", "README.md"])
def test_what_the_manual_names_exists(file):
    """Catches commands that name a choice which has been renamed."""
    text = (ROOT / file).read_text()
    groups = {choice.split("/")[0] for choice in CHOICES}
    for group, value in re.findall(r"\b([a-z]+)=([a-z0-9_/,]+)", text):
        for name in value.split(",") if group in groups else []:
            assert f"{group}/{name}" in [*CHOICES, "experiment/compare"]


@pytest.fixture(scope="module")
def start(tiny_runs):
    """Maps a task and an encoding to the weights that training starts from; each task reads its data once."""
    tasks = {}

    def build(task, position):
        config = tiny_runs.config("unused", f"position={position}", "seed=3", task=task)
        if task not in tasks:
            tasks[task] = build_task(config)
        return build_model(config, tasks[task]).state_dict()

    return build


@pytest.mark.slow
@each_encoding
@pytest.mark.parametrize("task", ["mlm", "classification"])
def test_one_seed_gives_every_encoding_the_same_start(start, encoding, task):
    """Catches an encoding whose own draws shift those of all other weights, so that pairing by seed is for nothing."""
    plain, other = start(task, "none"), start(task, encoding)
    assert plain.keys() <= other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in plain.items())
    added = [other[name].flatten()[:32] for name in other.keys() - plain.keys()]
    for own in (each for each in added if len(each) == 32 and each.unique().numel() > 1):  # of numbers of its own
        assert not any(torch.allclose(own, weight.flatten()[:32]) for weight in plain.values() if weight.dim() > 1)


@pytest.mark.slow
def test_folders_of_runs_tell_them_apart(chosen):
    """Catches two encodings or seeds that share a folder by default."""
    folders = [
        chosen(f"position/{position}", f"seed={seed}").output_dir for position in names("position") for seed in (1, 2)
    ]
    assert len(set(folders)) == len(folders)
    assert Path("outputs/mlm-docs-rope-seed1") in folders


def test_evaluation_composes():
    """Catches a default that the typed configuration does not know, and a recipe that looks for other folders."""
    recipe = EvaluateConfig.from_hydra(composed("evaluate", "experiment=compare"))
    (pattern,) = recipe.patterns
    trained = TrainConfig.from_hydra(composed("train", "experiment=compare/pretrain", "data.path=x"))
    assert trained.output_dir.match(pattern)
    assert recipe.length_factors[-1] == 16
    config = EvaluateConfig.from_hydra(composed("evaluate", "runs=a/*"))
    assert (config.patterns, config.reference, config.length_factors) == (["a/*"], "rope", [1, 2, 4])
    assert EvaluateConfig.from_hydra(composed("evaluate", "runs=[a,b]")).patterns == ["a", "b"]


def encodings_and_backends():
    """Every choice with every task that it may meet; most are ``full``, for what they run is tested on its own."""
    for task in ("mlm", "causal_lm", "classification"):
        for group, brief in (("position", one_for_each_hook()), ("attention", names("attention"))):
            for name in names(group):
                marks = () if task == "mlm" and name in brief else pytest.mark.full
                yield pytest.param(f"{group}={name}", task, marks=marks)


@pytest.mark.parametrize(("choice", "task"), encodings_and_backends())
def test_each_encoding_and_backend_trains(tiny_runs, tmp_path, choice, task):
    """Catches an encoding or backend that exists, builds, and dies in its first step or gives no gradient."""
    run = tiny_runs.train(tmp_path / "run", choice, "trainer.max_steps=2", "trainer.eval_steps=2", task=task)
    losses = [line["loss"] for line in metrics(run)]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)
    assert (run / "export" / "config.json").is_file()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"name": "text", "path": "my/v[2].txt"}, "v[2]"),
        ({"name": "text", "path": "my/corpus/*.jsonl"}, "corpus"),
        ({"name": "text", "path": "*/*.jsonl"}, "text"),
        ({"name": "text", "path": ["my/a.csv", "b.csv"]}, "a"),
        ({"name": "hub", "dataset": "stanfordnlp/imdb"}, "imdb"),
        ({"name": "docs"}, "docs"),
    ],
)
def test_a_corpus_has_a_name_for_folders(data, name):
    """Catches the folder "mlm-*-rope-seed1", which is a pattern."""
    assert data_name(data) == name
