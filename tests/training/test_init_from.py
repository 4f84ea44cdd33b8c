"""Starting from the weights of a finished run, or of a stock transformers RoFormer."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import AutoTokenizer
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormer

from roformer.errors import UserError
from roformer.io import DIGESTS
from roformer.tasks import TASKS
from roformer.tasks.factory import build_task
from roformer.training.warm_start import WarmStart, build_model, fit_to_checkpoint
from tests.tiny_runs import TinyRuns, metrics, weights


@pytest.fixture(scope="session")
def pretrained(tiny_runs):
    """A finished MLM run with an encoding that is not the default."""
    return tiny_runs.train(tiny_runs.folder / "pretrained", "position=sinusoidal", "position.base=500")


@pytest.fixture
def start_from(tiny_runs):
    """The model that a classification run begins with, its tokenizer and its settings."""

    def build(checkpoint, *overrides):
        chosen = frozenset(override.split("=")[0] for override in overrides)
        config = tiny_runs.config("unused", f"init_from={checkpoint}", *overrides, task="classification")
        config = fit_to_checkpoint(config, chosen)
        task = build_task(config)
        return build_model(config, task), task.tokenizer, config

    return build


@pytest.mark.parametrize("setting", ["task.classifier_dropout", "model.hidden_dropout_prob"])
def test_dropout_acts(tiny_runs, pretrained, tmp_path, setting):
    """Catches fine-tuning in the evaluation mode that ``from_pretrained`` leaves a model in."""
    runs = [
        tiny_runs.train(tmp_path / str(share), f"init_from={pretrained}", f"{setting}={share}", task="classification")
        for share in (0.0, 0.5)
    ]
    without, within = ([line["loss"] for line in metrics(run)] for run in runs)
    assert all(first != second for first, second in zip(without, within, strict=True))


def refusal(tiny_runs: TinyRuns, run, *overrides):
    with pytest.raises(UserError) as error:
        tiny_runs.train(run, *overrides, task="classification")
    assert "\n" not in str(error.value)
    return str(error.value)


def encoder_of(state):
    return {name: weight for name, weight in state.items() if name.startswith("roformer.")}


@pytest.mark.parametrize("export", [False, True])
def test_encoder_tokenizer_and_positions_come_along(start_from, pretrained, export):
    """Catches fine-tuning that begins with random weights, another vocabulary or the default positions."""
    model, tokenizer, config = start_from(pretrained / "export" if export else pretrained)
    stored = encoder_of(weights(pretrained))
    torch.testing.assert_close(encoder_of(model.state_dict()), stored, rtol=0, atol=0)
    assert len(stored) > 20
    assert config.position == model.config.position
    assert (config.position["name"], config.position["base"]) == ("sinusoidal", 500)
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(pretrained / "export").get_vocab()
    assert model.config.num_labels == 3


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].family in ("classification", "downstream")])
def test_every_fine_tuning_task_starts_from_a_language_model(pretrained, name):
    """Catches a task whose head is refused, since the checkpoint has no weights for it."""
    tokenizer = AutoTokenizer.from_pretrained(pretrained / "export")
    model = WarmStart(str(pretrained)).load(TASKS[name].model_class, {}, tokenizer)
    torch.testing.assert_close(encoder_of(model.state_dict()), encoder_of(weights(pretrained)), rtol=0, atol=0)


def test_the_head_depends_on_the_seed(start_from, pretrained):
    """Catches classifiers of all seeds that begin alike, and heads that are left unset."""
    heads = [start_from(pretrained, f"seed={seed}")[0].classifier.weight for seed in (1, 1, 2)]
    assert heads[0].equal(heads[1])
    assert not heads[0].equal(heads[2])
    assert 0 < heads[0].std() < 0.1


def test_sizes_are_those_of_the_checkpoint_and_dropout_is_ours(start_from, pretrained):
    """Catches sizes of the configuration that do not fit the weights, and a dropout that cannot be set."""
    model, _, config = start_from(pretrained, "model.hidden_dropout_prob=0.3")
    assert (config.model["hidden_size"], config.model["num_hidden_layers"]) == (32, 2)
    assert (model.config.hidden_size, model.config.hidden_dropout_prob) == (32, 0.3)
    assert model.roformer.layers[0].dropout.p == 0.3


def test_a_fine_tuned_run_can_be_continued(tiny_runs, interrupted, pretrained, tmp_path):
    """Catches a restart that begins at the checkpoint of ``init_from`` again."""
    overrides = (f"init_from={pretrained}",)
    run = interrupted(tmp_path / "run", 3, *overrides, task="classification")
    tiny_runs.train(run, *overrides, task="classification")
    assert metrics(run)[-1]["step"] == 8
    assert (run / "export" / "config.json").is_file()


def test_another_encoding_is_refused(tiny_runs, pretrained, tmp_path):
    """Catches weights of one encoding that are trained on with another."""
    overrides = (f"init_from={pretrained}", "position=rope")
    assert refusal(tiny_runs, tmp_path / "run", *overrides) == (
        f"position does not fit init_from={pretrained}, whose weights have position.name=sinusoidal; "
        "leave position out"
    )


def test_rope_may_be_scaled_for_longer_texts(tiny_runs, finished, tmp_path):
    """Catches a scaling that is refused or ignored, or does not know the length that the model was trained at."""
    longer = ("position=rope_yarn", "position.factor=2", "task.sequence_length=64", f"init_from={finished}")
    run = tiny_runs.train(tmp_path / "run", *longer, "trainer.max_steps=2")
    position = yaml.safe_load((run / "config.yaml").read_text())["position"]
    assert (position["name"], position["factor"], position["original_max_position_embeddings"]) == ("rope_yarn", 2, 32)
    assert position["rope_theta"] == 10000
    with pytest.raises(UserError, match=r"whose weights have position\.original_max_position_embeddings=32"):
        tiny_runs.train(tmp_path / "other", *longer, "position.original_max_position_embeddings=512")
    bare = f"init_from={shutil.copytree(finished / 'export', tmp_path / 'bare')}"
    with pytest.raises(
        UserError, match=r"does not say at which length it was .*position\.original_max_position_embeddings"
    ):
        tiny_runs.train(tmp_path / "other", *longer[:-1], bare)
    tiny_runs.train(
        tmp_path / "told", *longer[:-1], bare, "position.original_max_position_embeddings=32", "trainer.max_steps=1"
    )


def test_only_scalings_of_rope_start_from_it(tiny_runs, finished, tmp_path, monkeypatch):
    """Catches trained frequencies, which the checkpoint lacks, that are refused only after the corpus was read."""
    monkeypatch.setattr("roformer.training.run.build_task", None)
    for other in ("rope_learned", "xpos"):
        message = refusal(tiny_runs, tmp_path / other, f"init_from={finished}", f"position={other}")
        assert message.startswith(f"position does not fit init_from={finished}, whose weights have position.name=rope")


def test_other_sizes_are_refused(tiny_runs, pretrained, tmp_path):
    """Catches a size on the command line that is dropped in silence."""
    for override in ("model=small", "model.hidden_size=64"):
        assert "whose weights have model." in refusal(tiny_runs, tmp_path / "run", f"init_from={pretrained}", override)


def test_another_setting_of_the_encoding_is_refused(tiny_runs, pretrained, tmp_path):
    """Catches a setting on the command line that is dropped in silence."""
    setting = ("position=sinusoidal", "position.base=700")
    assert "position.base" in refusal(tiny_runs, tmp_path / "run", f"init_from={pretrained}", *setting)


@pytest.mark.parametrize(
    "size",
    [300, 200],
)
def test_another_vocabulary_is_refused(tiny_runs, pretrained, tmp_path, size):
    """Catches tokens that are looked up in the embeddings of other tokens."""
    another = ("tokenizer=wordpiece", f"tokenizer.vocab_size={size}")
    message = refusal(tiny_runs, tmp_path / "run", f"init_from={pretrained}", *another)
    assert message.startswith("the tokenizer ")
    assert message.endswith("use the tokenizer it was trained with (leave tokenizer out)")


def test_settings_of_a_tokenizer_that_is_not_trained_are_refused(tiny_runs, pretrained, tmp_path):
    """Catches a setting that is dropped in silence, because the checkpoint brings its tokenizer."""
    message = refusal(tiny_runs, tmp_path / "run", f"init_from={pretrained}", "tokenizer.vocab_size=200")
    assert message.startswith("tokenizer.vocab_size has no effect with init_from")


def test_weights_that_are_not_all_there_are_refused(tiny_runs, pretrained, tmp_path):
    """Catches a layer that starts from random weights without a word."""
    export = shutil.copytree(pretrained / "export", tmp_path / "export")
    stored = weights(pretrained)
    del stored["roformer.layers.1.output.weight"]
    save_file(stored, export / "model.safetensors", metadata={"format": "pt"})
    (export / DIGESTS).unlink()
    message = refusal(tiny_runs, tmp_path / "run", f"init_from={export}")
    assert message.startswith(
        f"{export} has no fitting weights for roformer.layers.1.output.weight, which RoFormerFor"
    )


def test_an_unfinished_run_is_refused(tiny_runs, interrupted, tmp_path):
    """Catches fine-tuning of whatever the last checkpoint happened to hold."""
    half = interrupted(tmp_path / "half", 3)
    assert refusal(tiny_runs, tmp_path / "run", f"init_from={half}") == (
        f"init_from={half} is a run that has not finished (re-run its command to resume); give the output folder of a "
        "finished run, an export, or another checkpoint"
    )


@pytest.mark.parametrize(("name", "reason"), [("", "holds no run and no export"), ("/nowhere", "does not exist")])
def test_a_folder_without_a_model_is_refused(tiny_runs, tmp_path, name, reason):
    """Catches a misspelt folder that is looked for on the hub."""
    message = refusal(tiny_runs, tmp_path / "run", f"init_from={tmp_path}{name}")
    assert message.startswith(f"init_from={tmp_path}{name} {reason}")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("model.safetensors", None, "cannot read the weights in "),
        ("model.safetensors", b"no weights", "cannot read the weights in "),
        ("config.json", b"{", "config.json is no JSON"),
    ],
)
def test_a_broken_export_is_refused(tiny_runs, pretrained, tmp_path, file, content, reason):
    """Catches a traceback from a library about a file that a copy has omitted or cut short."""
    export = shutil.copytree(pretrained / "export", tmp_path / "export")
    (export / file).unlink()
    if content is not None:
        (export / file).write_bytes(content)
    assert f"{export} is damaged ({file} " in refusal(tiny_runs, tmp_path / "run", f"init_from={export}")
    (export / DIGESTS).unlink()  # as if another program had written it
    assert reason in refusal(tiny_runs, tmp_path / "run", f"init_from={export}")


def test_the_start_is_recorded_and_kept_to(tiny_runs, finished, tmp_path):
    """Catches a fine-tuned run that passes for one of weights which have been trained anew since."""
    start = shutil.copytree(finished, tmp_path / "start")
    run = tiny_runs.train(tmp_path / "run", f"init_from={start}", task="classification")
    record = json.loads((run / "provenance.json").read_text())
    assert record["initial_weights"]["config"] == yaml.safe_load((start / "config.yaml").read_text())
    tiny_runs.train(run, f"init_from={start}", task="classification")  # finished, and the start is what it was
    other = tiny_runs.train(tmp_path / "other", "seed=2")
    shutil.rmtree(start / "export")
    shutil.copytree(other / "export", start / "export")
    message = refusal(tiny_runs, run, f"init_from={start}")
    assert message.startswith(f"{run} was begun from other weights than those that are in init_from={start} now")


@pytest.fixture
def stock(finished, tmp_path):
    """A stock RoFormer with random weights, saved with a tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(finished / "export")
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = StockRoFormer(StockConfig(vocab_size=len(tokenizer), intermediate_size=64, **sizes))
    model.save_pretrained(tmp_path / "stock")
    tokenizer.save_pretrained(tmp_path / "stock")
    return model, tmp_path / "stock"


def test_a_stock_roformer_is_fine_tuned(start_from, tiny_runs, stock, tmp_path):
    """Catches stock weights that are left behind because their names differ."""
    theirs, folder = stock
    ours = start_from(folder)[0]
    tokens = torch.randint(5, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval().roformer(tokens).last_hidden_state
        torch.testing.assert_close(ours.eval().roformer(tokens).last_hidden_state, expected, rtol=0, atol=1e-5)
    run = tiny_runs.train(tmp_path / "run", f"init_from={folder}", task="classification")
    assert metrics(run)[-1]["step"] == 8


def test_another_kind_of_model_is_refused(tiny_runs, finished, stock, tmp_path):
    """Catches foreign weights in a RoFormer, where every name that fits by chance is taken."""
    config = stock[1] / "config.json"
    config.write_text(config.read_text().replace('"roformer"', '"gpt2"'))
    message = refusal(tiny_runs, tmp_path / "run", f"init_from={stock[1]}")
    assert message.startswith(f"'{stock[1]}' holds a model of type 'gpt2', and none of RoFormer")


def test_attention_keeps_its_operator(tiny_runs, start_from, tmp_path):
    """Catches weights of linear attention that are fine-tuned as those of softmax, and the other way round."""
    linear = tiny_runs.train(tmp_path / "linear", "attention=linear")
    model, _, config = start_from(linear, "attention=auto")
    assert config.attention == {"name": "linear"}
    assert model.config.attention_backend == "linear"
    assert "trained with linear; leave attention out" in refusal(
        tiny_runs, tmp_path / "run", f"init_from={linear}", "attention=sdpa"
    )
    softmax = tiny_runs.train(tmp_path / "softmax")
    assert start_from(softmax, "attention=blocked")[2].attention == {"name": "blocked"}
    assert "trained with sdpa; leave attention out" in refusal(
        tiny_runs, tmp_path / "run", f"init_from={softmax}", "attention=linear"
    )


def test_random_features_come_along(tiny_runs, start_from, tmp_path):
    """Catches weights that meet another number of random features than they were trained with."""
    start = tiny_runs.train(tmp_path / "start", "attention=favor_plus", "attention.num_features=7")
    for given in ("attention=auto", "attention=favor_plus"):
        model, _, config = start_from(start, given)
        assert config.attention == {"name": "favor_plus", "num_features": 7}
        torch.testing.assert_close(encoder_of(model.state_dict()), encoder_of(weights(start)), rtol=0, atol=0)
        assert len(model.roformer.layers[0].backend.projection) == 7
    other = ("attention=favor_plus", "attention.num_features=9")
    told = refusal(tiny_runs, tmp_path / "run", f"init_from={start}", *other)
    assert told.startswith("attention.num_features=9 does not fit")
    assert told.endswith("trained with 7; leave attention.num_features out")


def test_a_decoder_is_no_start_for_masked_language_modeling(tiny_runs, tmp_path):
    """Catches masked tokens that are predicted from one side."""
    decoder = tiny_runs.train(tmp_path / "decoder", task="causal_lm")
    with pytest.raises(UserError, match="needs both sides of a token"):
        tiny_runs.train(tmp_path / "run", f"init_from={decoder}")


def test_translations_start_from_translations(tiny_runs, stock, tmp_path, monkeypatch):
    """Catches a model that says where it starts from and is drawn at random, and a traceback after much work."""
    translation = tiny_runs.train(tmp_path / "translation", task="translation")
    decoder = tiny_runs.train(tmp_path / "decoder", task="causal_lm")
    monkeypatch.setattr("roformer.training.run.build_task", None)  # calling it would fail
    for start in (stock[1], decoder):
        with pytest.raises(UserError, match="is not an encoder-decoder, which task=translation needs"):
            tiny_runs.train(tmp_path / "run", f"init_from={start}", task="translation")
    for task in ("mlm", "causal_lm", "classification"):
        with pytest.raises(UserError, match=f"is an encoder-decoder, from which task={task} cannot start"):
            tiny_runs.train(tmp_path / "run", f"init_from={translation}", task=task)
