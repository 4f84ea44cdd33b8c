"""The published forms of Chinese checkpoints through the whole pipeline: fine-tuned, pretrained on, and given back."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, RoFormerConfig, RoFormerForMaskedLM
from transformers import RoFormerForSequenceClassification as StockClassifier

from roformer import model as ours
from roformer.errors import UserError
from roformer.training.warm_start import WarmStart
from tests.tiny_runs import metrics, weights

FIXTURES = Path(__file__).parents[1] / "fixtures"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS = {
    "天气": ["今天", "下雨", "很冷", "大风"],
    "电影": ["好看", "导演", "故事", "演员"],
    "吃饭": ["米饭", "面条", "好吃", "青菜"],
}
WORDS = [word for words in TOPICS.values() for word in words]
CHARACTERS = sorted({character for word in WORDS for character in word})
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.1,
}
FORMS = ["words", "characters", "rotary_value", "v2", "tensorflow", "keras_hub", "bert"]
NOT_STOCK = {"v2": "norm_type=rms_norm", "keras_hub": "'rope_theta': 500"}


def write_vocabulary(folder, tokens, size):
    padded = [*SPECIAL, *tokens]
    padded += [f"[unused{number}]" for number in range(size - len(padded))]
    (folder / "vocab.txt").write_text("\n".join(padded) + "\n", encoding="utf-8")
    return len(padded)


def write_v2(folder, size):
    """RoFormerV2 as its package stores it: a RoFormer's weights without biases and norms."""
    config = RoFormerConfig(**SIZES, vocab_size=size, hidden_act="relu")
    weights = RoFormerForMaskedLM(config).state_dict()
    kept = [
        name for name in weights if name.endswith("weight") and not {"LayerNorm", "transform"} & {*name.split(".")}
    ]
    save_file({name: weights[name].clone() for name in kept}, folder / "model.safetensors")
    stored = {**config.to_dict(), "norm_type": "rms_norm", "use_bias": False, "architectures": ["RoFormerForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(stored))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The function that writes a checkpoint in that form and returns its folder."""

    def write(form):
        folder = tmp_path_factory.mktemp(form)
        if form == "keras_hub":
            pytest.importorskip("h5py")
            return Path(shutil.copytree(FIXTURES / "keras_hub" / "masked_lm", folder, dirs_exist_ok=True))
        size = write_vocabulary(folder, [*WORDS, *CHARACTERS] if form == "words" else CHARACTERS, 34)
        torch.manual_seed(0)
        kind = "RoFormerTokenizer" if form == "words" else "BertTokenizer"
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "do_lower_case": True}))
        if form == "tensorflow":
            (folder / "tokenizer_config.json").unlink()
            for file in (FIXTURES / "tensorflow" / "roformer").glob("bert_*"):
                shutil.copy(file, folder)
        elif form == "v2":
            write_v2(folder, size)
        elif form == "bert":
            BertForMaskedLM(BertConfig(**SIZES, vocab_size=size)).save_pretrained(folder)
        else:
            rotary = form == "rotary_value"
            padded = RoFormerConfig(**SIZES, vocab_size=size + 6, rotary_value=rotary)  # rows that no token has
            RoFormerForMaskedLM(padded).save_pretrained(folder)
        return folder

    made = {form: write(form) for form in FORMS}
    return made.__getitem__


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of Chinese texts and their topics."""
    file, rng = tmp_path_factory.mktemp("table") / "chinese.csv", np.random.default_rng(0)
    with file.open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(["text", "label"])
        for topic in list(TOPICS) * 30:
            rows.writerow(["".join(rng.choice(TOPICS[topic], rng.integers(4, 12))), topic])
    return f"data.path={file}"


@pytest.mark.parametrize("form", FORMS)
def test_fine_tuning(form, published, table, tiny_runs, tmp_path):
    """Catches a form that cannot be a start, or one whose body or tokenizer is not the checkpoint's."""
    folder = published(form)
    if form == "words":
        pytest.importorskip("rjieba")
    run = tiny_runs.train(tmp_path / "run", f"init_from={folder}", table, "trainer.max_steps=2", task="classification")
    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    assert len(tokenizer.tokenize("今天下雨")) == (2 if form == "words" else 4)
    assert tokenizer.unk_token not in tokenizer.tokenize("今天下雨")
    start, end = ours.RoFormerModel.from_transformers(folder).state_dict(), weights(run)
    moved = {name: (end[f"roformer.{name}"] - start[name]).abs().max() for name in start if "pooler" not in name}
    assert 0 < max(moved.values()) < 0.01
    assert json.loads((run / "provenance.json").read_text())["initial_weights"]["digest"]


@pytest.mark.parametrize("form", FORMS)
def test_pretraining_goes_on(form, published, table, tiny_runs, tmp_path):
    """Catches weights that are learned anew: the loss would first be that of random ones, or rise."""
    if form == "words":
        pytest.importorskip("rjieba")
    steps = ("trainer.max_steps=24", "trainer.eval_steps=1", "trainer.save_steps=24", "optimizer.learning_rate=0.01")
    more = (f"init_from={published(form)}", "data=labeled", table, "data.validation_fraction=0.5", *steps)
    run = tiny_runs.train(tmp_path / "run", *more)
    losses = [line["validation_loss"] for line in metrics(run) if "validation_loss" in line]
    assert losses[-1] < losses[0]
    model = ours.RoFormerForMaskedLM.from_pretrained(run / "export").eval()
    tokens = torch.arange(5, 17)[None]
    if form in NOT_STOCK:
        with pytest.raises(UserError, match=NOT_STOCK[form]):
            model.to_transformers()
        return
    stock = model.to_transformers()
    stock.save_pretrained(tmp_path / "stock")
    with torch.no_grad():
        expected = RoFormerForMaskedLM.from_pretrained(tmp_path / "stock").eval()(tokens).logits
        torch.testing.assert_close(model(tokens).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("position", ["rope", "learned", "alibi"])
def test_any_position_for_a_bert(position, published, table, tiny_runs, tmp_path):
    """Catches an encoding that is refused, or replaced, although the checkpoint's own is dropped in any case."""
    more = (f"init_from={published('bert')}", "data=labeled", table, f"position={position}", "trainer.max_steps=1")
    run = tiny_runs.train(tmp_path / "run", *more)
    assert json.loads((run / "export" / "config.json").read_text())["position"]["name"] == position


def test_positions_of_a_roformer_stay(published, table, tiny_runs, tmp_path):
    """Catches the freedom of BERT's positions for checkpoints that were trained with RoPE."""
    with pytest.raises(UserError, match=r"whose weights have position\.name=rope"):
        tiny_runs.train(tmp_path / "run", f"init_from={published('v2')}", "data=labeled", table, "position=alibi")


def test_a_classifier_is_fine_tuned_with_its_head(sizes, visible_weights, tmp_path):
    """Catches a trained classifier of the same classes that is drawn anew."""
    stock = visible_weights(StockClassifier(RoFormerConfig(**sizes, num_labels=3)))
    stock.save_pretrained(tmp_path)
    start = WarmStart(str(tmp_path))
    model = start.foreign.load(ours.RoFormerForSequenceClassification, {"attention_backend": "sdpa"})
    assert torch.equal(model.classifier.weight, stock.classifier.out_proj.weight)


def test_a_name_of_the_hub(published, table, tiny_runs, tmp_path, monkeypatch):
    """Catches a name, or its revision, that is taken for a folder, and a run that asks again: a branch may move."""
    asked = []

    def download(name, *, revision, allow_patterns):
        asked.append((name, revision))
        return str(published("characters"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    more = ("init_from=owner/model@v1.0", table, "trainer.max_steps=1")
    run = tiny_runs.train(tmp_path / "run", *more, task="classification")
    assert asked == [("owner/model", "v1.0")]
    assert (run / "export" / "config.json").is_file()


def test_the_hub_without_a_network(table, tiny_runs, tmp_path, monkeypatch):
    """Catches a traceback, or a message of many lines."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run", "init_from=junnyu/nothing", table, task="classification")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("'junnyu/nothing' is no folder, and as a name on the hub it cannot be loaded")
