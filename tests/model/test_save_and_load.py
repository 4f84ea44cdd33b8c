"""Saved and loaded, a model computes the same: each encoding, by its own class and by the Auto classes."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from roformer.model import RoFormerForMaskedLM, RoFormerForSequenceClassification, RoFormerModel
from tests.choices import each_backend, each_encoding

pytestmark = pytest.mark.usefixtures("small_blocks")

TOKENS = torch.arange(1, 13)[None]


@each_encoding
@pytest.mark.parametrize("loader", [RoFormerForMaskedLM, AutoModelForMaskedLM])
def test_same_logits(encoding, loader, tiny_model, tmp_path):
    """Catches derived tables that loading leaves unset: with transformers 5 RoPE's came back as zeros, silently."""
    model = tiny_model(encoding)
    model.save_pretrained(tmp_path)
    back = loader.from_pretrained(tmp_path)
    assert type(back) is RoFormerForMaskedLM
    assert not back.training
    assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)


@each_encoding
def test_encoder_alone(encoding, tiny_model, tmp_path):
    """Catches a prefix of the weights' names that the encoder does not find."""
    model = tiny_model(encoding)
    model.save_pretrained(tmp_path)
    expected = model.roformer(TOKENS).last_hidden_state
    for loader in (RoFormerModel, AutoModel):
        back = loader.from_pretrained(tmp_path)
        assert type(back) is RoFormerModel
        assert torch.equal(back(TOKENS).last_hidden_state, expected)


@each_encoding
def test_classifier(encoding, tiny_model, tmp_path):
    """Catches a pooling or a number of labels that is not stored."""
    model = tiny_model(encoding, model_class=RoFormerForSequenceClassification, pooling="mean", num_labels=3)
    model.save_pretrained(tmp_path)
    back = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(back) is RoFormerForSequenceClassification
    assert back(TOKENS).logits.shape == (1, 3)
    assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)


def test_classifier_starts_from_the_pretrained_encoder(tiny_model, tmp_path):
    """Catches fine-tuning that starts from random weights."""
    model = tiny_model()
    model.save_pretrained(tmp_path)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    expected = model.roformer(TOKENS).last_hidden_state
    assert torch.equal(classifier.roformer(TOKENS).last_hidden_state, expected)


@each_encoding
def test_from_a_configuration_alone(encoding, tiny_model, tmp_path):
    """Catches Auto classes that know our weights' files but not our configuration."""
    tiny_model(encoding).config.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(AutoModelForMaskedLM.from_config(config)) is RoFormerForMaskedLM
    assert type(AutoModel.from_config(config)) is RoFormerModel


@each_encoding
def test_file_holds_weights_only(encoding, tiny_model, tmp_path):
    """Catches tables of angles in the file, which bind a model to a length, and the tied matrix stored twice."""
    model = tiny_model(encoding)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    names = dict(model.named_parameters())  # names a tied matrix once
    assert stored.keys() == names.keys()
    assert not list(model.buffers())


@each_backend
def test_backend_may_be_chosen_on_loading(backend, tiny_model, tmp_path):
    """Catches a backend that is fixed at the first saving."""
    model = tiny_model(attention_backend="sdpa")
    model.save_pretrained(tmp_path)
    back = RoFormerForMaskedLM.from_pretrained(tmp_path, attention_backend=backend)
    assert type(back.roformer.layers[0].backend).__module__ == f"roformer.attention.{backend}"
    torch.testing.assert_close(back(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)


@each_encoding
@pytest.mark.parametrize("how", ["on loading", "before saving"])
def test_bfloat16(encoding, how, tiny_model, tmp_path):
    """Catches angles or positions that take the type of the weights: beyond 256 not every integer is a bfloat16."""
    model = tiny_model(encoding, max_position_embeddings=512)
    positions = torch.arange(500, 512)[None]
    if encoding == "rope_learned":  # trained angles are as coarse as any weight
        model.roformer.position.log_change.data.zero_()
    expected = model(TOKENS, position_ids=positions).logits
    (model.bfloat16() if how == "before saving" else model).save_pretrained(tmp_path)
    back = RoFormerForMaskedLM.from_pretrained(tmp_path, dtype=torch.bfloat16 if how == "on loading" else "auto")
    logits = back(TOKENS, position_ids=positions).logits
    assert {parameter.dtype for parameter in back.parameters()} == {logits.dtype} == {torch.bfloat16}
    assert (logits.float() - expected).norm() < 0.05 * expected.norm()


@each_encoding
def test_initial_weights(encoding, tiny_model):
    """Catches PyTorch's own initial weights, such as N(0, 1) in a table of positions, where BERT's are small."""
    config = tiny_model(encoding, initializer_range=0.05).config
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(RoFormerForMaskedLM(config).eval())
    for name, parameter in models[0].named_parameters():
        if name.startswith("roformer.position.") and not parameter.any():
            continue  # a change of something fixed
        if parameter.dim() > 1:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.2), name
        else:
            assert set(parameter.tolist()) == {1.0 if name.endswith("norm.weight") else 0.0}, name
    assert torch.equal(*(model(TOKENS).logits for model in models))


@pytest.mark.parametrize(
    ("backend", "position", "old"),
    [
        ("sdpa", "rope", {"name": "rope", "base": 10000.0, "layout": "interleaved", "partial_factor": 1.0}),
        ("favor_plus", "rope", {"name": "rope", "base": 10000.0}),
        ("efficient", "none", {"name": "none"}),
        ("sdpa", "t5", {"name": "t5", "buckets": 32, "max_distance": 128}),
    ],
)
def test_exports_of_version_0_1_are_read(backend, position, old, tiny_model, tmp_path):
    """Catches an export with the names of its time that is refused, or read with defaults in place of its settings."""
    model = tiny_model(position, attention_backend=backend)
    model.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    old_backends = {"favor_plus": "performer", "efficient": "linear_softmax"}
    stored = {**json.loads(file.read_text()), "position": old}
    file.write_text(json.dumps({**stored, "attention_backend": old_backends.get(backend, backend)}))
    for loader in (RoFormerForMaskedLM, AutoModelForMaskedLM):
        back = loader.from_pretrained(tmp_path)
        assert back.config.attention_backend == backend
        assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)
