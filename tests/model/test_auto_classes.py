"""transformers' Auto classes on our checkpoints: our model with the stored encoder, or a refusal; never another's."""

import inspect

import pytest
import torch
import transformers
from transformers.models.auto import modeling_auto

from roformer.errors import UserError
from roformer.model import (
    RoFormerForCausalLM,
    RoFormerForConditionalGeneration,
    RoFormerForMaskedLM,
    RoFormerForSequenceClassification,
    RoFormerLabConfig,
)
from tests.tiny_models import build_tiny_model

AUTO = sorted(
    name
    for name, value in vars(modeling_auto).items()
    if name.startswith("AutoModel") and inspect.isclass(value) and hasattr(value, "_model_mapping")
)
OURS = {
    "AutoModel", "AutoModelForMaskedLM", "AutoModelForMultipleChoice", "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering", "AutoModelForSequenceClassification", "AutoModelForTokenClassification",
}  # fmt: skip


EXPORTS = {
    "encoder": (RoFormerForMaskedLM, {}, OURS),
    "classifier": (RoFormerForSequenceClassification, {"num_labels": 1, "pooling": "mean"}, OURS),
    "decoder": (
        RoFormerForCausalLM,
        {"is_decoder": True, "pooling": "mean"},
        OURS - {"AutoModelForMaskedLM", "AutoModelForPreTraining"} | {"AutoModelForCausalLM"},
    ),
}


@pytest.fixture(scope="module", params=EXPORTS)
def export(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model_class, settings, fitting = EXPORTS[request.param]
    model = build_tiny_model(model_class=model_class, **settings)
    model.save_pretrained(folder)
    return folder, model, fitting


@pytest.mark.parametrize("name", AUTO)
def test_auto_class_gives_our_model_or_none(name, export):
    """Catches the lookup by a class name that another package has as well: it gave a model with random weights."""
    folder, model, fitting = export
    auto = getattr(modeling_auto, name)
    if name not in fitting:
        with pytest.raises((ValueError, UserError), match=r"RoFormerLab|is_decoder|is_encoder_decoder"):
            auto.from_pretrained(folder)
        return
    loaded = auto.from_pretrained(folder).eval()
    assert type(loaded).__module__.startswith("roformer.model.")
    tokens = torch.arange(12)[None]
    hidden_states = getattr(loaded, "roformer", loaded)(tokens).last_hidden_state
    torch.testing.assert_close(hidden_states, model.roformer(tokens).last_hidden_state, atol=0, rtol=0)


def test_no_auto_mapping_knows_our_configuration_by_name():
    """Catches a class name of ours that transformers gives to a configuration of its own in a later release."""
    assert not hasattr(transformers, RoFormerLabConfig.__name__)


@pytest.mark.parametrize("name", AUTO)
def test_parts_of_an_encoder_decoder_are_refused(name, sizes):
    """Catches a body whose weights would all be missing from the checkpoint."""
    auto, config = getattr(modeling_auto, name), RoFormerLabConfig(**sizes, is_encoder_decoder=True, pooling="mean")
    if name == "AutoModelForSeq2SeqLM":
        assert type(auto.from_config(config)) is RoFormerForConditionalGeneration
        return
    with pytest.raises((ValueError, UserError), match=r"AutoModelForSeq2SeqLM|RoFormerLab|is_decoder"):
        auto.from_config(config)
