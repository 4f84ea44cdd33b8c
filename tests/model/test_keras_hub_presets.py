"""Presets of keras-hub, read without Keras; ``fixtures/keras_hub/write.py`` wrote them and what they compute."""

import json
import shutil
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from roformer import model as ours
from roformer.errors import UserError

h5py = pytest.importorskip("h5py")

FIXTURES = Path(__file__).parents[1] / "fixtures" / "keras_hub"


def compare(read, name):
    """Compares the outputs of a model with the recorded ones."""
    expected = load_file(FIXTURES / name / "expected.safetensors")
    tokens, types = expected.pop("tokens").long(), expected.pop("types").long()
    with torch.no_grad():
        outputs = read(tokens, token_type_ids=types, attention_mask=(tokens != 0).long(), output_hidden_states=True)
    outputs["hidden_states"] = outputs.hidden_states[-1]
    for key in expected.keys() & outputs.keys():
        torch.testing.assert_close(outputs[key], expected[key], atol=1e-5, rtol=0)
    return expected


def test_masked_tokens():
    """Catches a kernel that is not turned, a weight in another's place, a norm without its weights, other pairs of
    channels, or another wavelength."""
    compare(ours.RoFormerForMaskedLM.from_transformers(FIXTURES / "masked_lm"), "masked_lm")


def test_body_alone():
    """Catches a prefix that only a model with a head has, and a pooler that no preset has."""
    read = ours.RoFormerModel.from_transformers(FIXTURES / "masked_lm")
    compare(read, "masked_lm")
    assert not read.config.add_pooler


def test_classifier():
    """Catches a head that is drawn anew, transformers' activation in it, or its weights for the body's."""
    read = ours.RoFormerForSequenceClassification.from_transformers(FIXTURES / "classifier")
    compare(read, "classifier")
    assert read.config.num_labels == 3


def test_another_head():
    """Catches a head that keeps the body from being read: a classifier for tokens, or no head at all."""
    read = ours.RoFormerForTokenClassification.from_transformers(FIXTURES / "classifier", num_labels=5)
    body = ours.RoFormerModel.from_transformers(FIXTURES / "classifier")
    assert read.classifier.out_features == 5
    assert torch.equal(read.roformer.layers[0].output.weight, body.layers[0].output.weight)


def test_settings():
    """Catches dropout of attention, which keras-hub's model has not, and settings of the authors' model."""
    config = ours.RoFormerModel.from_transformers(FIXTURES / "classifier").config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.0)
    assert (config.norm_type, config.use_bias, config.layer_norm_eps) == ("scaled_rms_norm", False, 1e-7)
    assert (config.hidden_act, config.position["rope_theta"]) == ("gelu", 10000)


def test_the_norms_survive_a_file(tmp_path):
    """Catches weights of norms that are lost in our own export."""
    read = ours.RoFormerForMaskedLM.from_transformers(FIXTURES / "masked_lm")
    read.save_pretrained(tmp_path)
    compare(ours.RoFormerForMaskedLM.from_pretrained(tmp_path).eval(), "masked_lm")


@pytest.fixture
def copied(tmp_path):
    """A copy of the classifier's preset."""
    return Path(shutil.copytree(FIXTURES / "classifier", tmp_path / "copied"))


def refusal(folder):
    with pytest.raises(UserError) as error:
        ours.RoFormerForSequenceClassification.from_transformers(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(folder, name="config.json", **changes):
    file = folder / name
    stored = json.loads(file.read_text())
    stored["config"] |= changes
    file.write_text(json.dumps({**stored, **{key: changes[key] for key in stored.keys() & changes.keys()}}))


def replace(folder, path, values, dtype=None):
    """Stores other numbers for a variable, as Keras does."""
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        del file[path]
        file[path] = values
        if dtype:
            file[path].attrs["dtype"] = dtype


def test_brain_floats(copied):
    """Catches a type that NumPy does not have: Keras stores it as two bytes with a note."""
    table = torch.randn(21, 16, dtype=torch.bfloat16)
    replace(copied, "layers/reversible_embedding/vars/0", table.view(torch.int16).numpy().view("V2"), "bfloat16")
    read = ours.RoFormerModel.from_transformers(copied)
    assert torch.equal(read.embeddings.word_embeddings.weight, table.to(read.dtype))


@pytest.mark.parametrize("name", ["model.weights.h5", "task.weights.h5"])
def test_weights_that_are_missing_or_cut(copied, name):
    """Catches HDF5's own traceback, or a head that is drawn anew although the preset has one."""
    file = copied / name
    content = file.read_bytes()
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        assert f"cannot read the weights in {file}" in refusal(copied)
    file.unlink()
    assert f"no weights at {file}; copy them there" in refusal(copied)


def test_bytes_that_are_wrong(copied):
    """Catches an error of another kind than the one that is reported, whichever byte is damaged."""
    file = copied / "task.weights.h5"
    content = file.read_bytes()
    for place in range(0, len(content), 701):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with suppress(UserError):
            ours.RoFormerForSequenceClassification.from_transformers(copied)


@pytest.mark.parametrize(
    ("path", "shape", "name"),
    [
        ("layers/reversible_embedding", (20, 16), "roformer.embeddings.word_embeddings.weight"),
        ("layers/roformer_norm", (8,), "roformer.embeddings.norm.weight"),
        ("layers/roformer_v2_encoder/attention_layer/q_dense", (8, 16), "attention.self.key.weight"),
        ("layers/roformer_v2_encoder/feedforward_output_dense", (16, 12), "roformer.layers.0.output.weight"),
        ("layers/roformer_v2_encoder/feedforward_output_dense", (3, 12, 16), "roformer.layers.0.output.weight"),
    ],
)
def test_weights_of_another_shape(copied, path, shape, name):
    """Catches a traceback of torch, or a weight that is drawn anew in the body."""
    replace(copied, f"{path}/vars/0", torch.zeros(shape).numpy())
    assert refusal(copied).startswith(f"'{copied}' has")
    assert name in refusal(copied)


@pytest.mark.parametrize("path", ["layers/roformer_v2_encoder/new_norm", "layers/new_embedding"])
def test_weights_of_a_later_version(copied, path):
    """Catches a weight that is ignored although keras-hub computes with it."""
    with h5py.File(copied / "model.weights.h5", "r+") as file:
        file[f"{path}/vars/0"] = torch.ones(16).numpy()
    assert "no place for, such as e" in refusal(copied)


def test_whole_numbers(copied):
    """Catches a quantized model whose numbers are taken for weights."""
    replace(copied, "layers/roformer_norm/vars/0", torch.ones(16, dtype=torch.int8).numpy())
    assert "not as floats; export it unquantized" in refusal(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_name": "BertBackbone"}, "config.json is of keras-hub's BertBackbone"),
        ({"use_bias": True}, "config.json has use_bias=true"),
        ({"activation": "leaky_relu"}, "config.json has activation=leaky_relu; known are relu"),
        ({"num_layers": 2}, "has no weights for roformer.layers.1."),
        ({"num_layers": "two"}, "config.json"),
        ({"max_wavelength": "long"}, "rope_theta"),
        ({"config": {}}, "config.json, or task.json next to it, has no 'vocabulary_size'"),
        ({"config": None}, "config.json, or task.json next to it, has no"),
    ],
)
def test_settings_that_fit_no_model_here(copied, changes, message):
    """Catches another model that is taken for RoFormerV2, or a traceback where a setting is damaged."""
    change(copied, **changes)
    assert message in refusal(copied)


def test_a_damaged_task(copied):
    """Catches a traceback on the settings of a head."""
    change(copied, "task.json", config={})
    assert "task.json next to it, has no 'num_classes'; copy them anew" in refusal(copied)


def test_without_h5py(monkeypatch):
    """Catches a traceback where the optional package is missing."""
    monkeypatch.setattr("roformer.extras.find_spec", lambda name: None)
    assert "model.weights.h5 needs the package h5py: pip install 'roformer-lab[keras]'" in refusal(
        FIXTURES / "classifier"
    )


def test_a_preset_on_the_hub(tmp_path, monkeypatch):
    """Catches weights that are not downloaded because of their name."""

    def download(name, *, revision, allow_patterns):
        for file in (file for file in FIXTURES.glob("masked_lm/**/*") if file.stem != "expected" and file.is_file()):
            inside = file.relative_to(FIXTURES / "masked_lm")
            if any(fnmatch(inside.as_posix(), pattern) for pattern in allow_patterns):
                (tmp_path / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, tmp_path / inside)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    compare(ours.RoFormerForMaskedLM.from_transformers("owner/preset"), "masked_lm")
    assert (tmp_path / "assets" / "tokenizer" / "vocabulary.txt").is_file()
