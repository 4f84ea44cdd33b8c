"""TensorFlow's checkpoints, read without TensorFlow; ``fixtures/tensorflow/write.py`` wrote them with it."""

import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForPreTraining, RoFormerConfig, RoFormerForMaskedLM

from roformer import model as ours
from roformer.errors import UserError
from roformer.model.interop.tensor_bundle import read_index, read_tensors

FIXTURES = Path(__file__).parents[1] / "fixtures" / "tensorflow"
SIZES = {"vocab_size": 34, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
TOKENS = torch.arange(1, 13)[None]


@pytest.mark.parametrize("kind", ["types", "roformer", "roformer_v2", "bert"])
def test_every_number_is_what_tensorflow_wrote(kind):
    """Catches a wrong offset, shape, type or name, of the 140th of many as of the first."""
    (index,) = (FIXTURES / kind).glob("*.index")
    entries = read_index(index)
    expected = load_file(FIXTURES / kind / "expected.safetensors")
    found = read_tensors(index, {name: entries[name] for name in expected})
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype
    assert len(entries) == len(expected) + {"types": 1, "bert": 2}.get(kind, 1)


def test_brain_floats():
    """Catches a type that NumPy does not have."""
    index = FIXTURES / "types" / "model.ckpt.index"
    entries = read_index(index)
    found = read_tensors(index, {"bfloat16": entries["bfloat16"]})["bfloat16"]
    assert torch.equal(found, torch.tensor([1.5, -2.0, 0.0078125], dtype=torch.bfloat16))


def variable(name):
    """TensorFlow's name of a weight of transformers."""
    name = re.sub(r"layer\.(\d)", r"layer_\1", name.replace("roformer.", "bert."))
    name = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}.get(name, name)
    name = name.replace("cls.predictions.decoder.bias", "cls.predictions.bias")
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta", "predictions.bias":
            "predictions.output_bias", "embeddings.weight": "embeddings", "relationship.weight":
            "relationship.output_weights", "relationship.bias": "relationship.output_bias"}  # fmt: skip
    end = next((end for end in ends if name.endswith(end)), None)
    name = name.removesuffix(end) + ends[end] if end else re.sub(r"weight$", "kernel", name)
    return name.replace(".", "/")


def filled(model, kind):
    """A model of transformers with the numbers that TensorFlow wrote."""
    expected = load_file(FIXTURES / kind / "expected.safetensors")
    weights = model.state_dict()
    for name in weights:
        if not name.endswith("embed_positions.weight"):
            weights[name] = (
                expected[variable(name)].T if variable(name).endswith("kernel") else expected[variable(name)]
            )
    model.load_state_dict(weights)
    return model.eval()


def test_a_roformer():
    """Catches a kernel that is not turned, or a weight in the place of another one of its shape."""
    stock = filled(RoFormerForMaskedLM(RoFormerConfig(**SIZES)), "roformer")
    read = ours.RoFormerForMaskedLM.from_transformers(FIXTURES / "roformer")
    with torch.no_grad():
        torch.testing.assert_close(read(TOKENS).logits, stock(TOKENS).logits, atol=1e-5, rtol=0)
    assert read.config.position["name"] == "rope"


def test_a_bert():
    """Catches a BERT that is taken for a RoFormer: the files do not say which they are."""
    stock = filled(BertForPreTraining(BertConfig(**SIZES, max_position_embeddings=16)), "bert")
    settings = {"position": {"name": "learned"}}
    read = ours.RoFormerForMaskedLM.from_transformers(FIXTURES / "bert", **settings)
    with torch.no_grad():
        torch.testing.assert_close(read(TOKENS).logits, stock(TOKENS).prediction_logits, atol=1e-5, rtol=0)
        body = ours.RoFormerModel.from_transformers(FIXTURES / "bert", **settings)
        torch.testing.assert_close(body(TOKENS).pooler_output, stock.bert(TOKENS).pooler_output, atol=1e-5, rtol=0)


def test_a_second_version():
    """Catches a RoFormerV2 that is taken for a RoFormer without its biases."""
    read = ours.RoFormerForMaskedLM.from_transformers(FIXTURES / "roformer_v2")
    assert (read.config.norm_type, read.config.use_bias, read.config.hidden_act) == ("rms_norm", False, "relu")
    expected = load_file(FIXTURES / "roformer_v2" / "expected.safetensors")
    layer = read.roformer.layers[1]
    assert torch.equal(layer.output.weight, expected["bert/encoder/layer_1/output/dense/kernel"].T)
    key = layer.query_key_value.weight.chunk(3)[1]
    assert torch.equal(key, expected["bert/encoder/layer_1/attention/self/key/kernel"].T)


@pytest.fixture
def copied(tmp_path):
    """A copy of the RoFormer."""
    return Path(shutil.copytree(FIXTURES / "roformer", tmp_path / "copied"))


def refusal(folder):
    with pytest.raises(UserError) as error:
        ours.RoFormerForMaskedLM.from_transformers(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("size", [0, 30, 47, 700, 1500, 1800])
def test_a_cut_index(copied, size):
    """Catches a traceback, or an endless loop, on a file that a download has cut short."""
    file = copied / "bert_model.ckpt.index"
    file.write_bytes(file.read_bytes()[:size])
    assert f"{file} is no index of a TensorFlow checkpoint" in refusal(copied)


def test_bytes_that_are_wrong(copied):
    """Catches an error of another kind than the one that is reported, whichever byte of the index is damaged."""
    file = copied / "bert_model.ckpt.index"
    content = file.read_bytes()
    for place in range(0, len(content), 11):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with suppress(UserError):
            ours.RoFormerModel.from_transformers(copied)


def test_data_that_are_cut_or_missing(copied):
    """Catches zeros, or the numbers of another variable, in place of what is not there."""
    file = copied / "bert_model.ckpt.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot read" in refusal(copied)
    file.unlink()
    assert f"in {file}" in refusal(copied)


def test_a_size_beyond_the_data():
    """Catches an attempt to get all memory there is, because of a damaged byte."""
    index = FIXTURES / "roformer" / "bert_model.ckpt.index"
    entries = {name: replace(entry, size=2**62) for name, entry in read_index(index).items()}
    with pytest.raises(UserError, match="it ends too early"):
        read_tensors(index, entries)


def test_folders_that_are_not_one_checkpoint(copied):
    """Catches one of two checkpoints, taken at random, or variables that mean something else."""
    (copied / "bert_model.ckpt.index").rename(copied / "a.ckpt.index")
    shutil.copy(copied / "a.ckpt.index", copied / "b.ckpt.index")
    assert "has 2 files *.ckpt*.index" in refusal(copied)
    (copied / "a.ckpt.index").unlink()
    shutil.copy(FIXTURES / "types" / "model.ckpt.index", copied / "b.ckpt.index")
    assert "has no variables bert/..." in refusal(copied)
    (copied / "b.ckpt.index").unlink()
    assert "has 0 files *.ckpt*.index" in refusal(copied)
