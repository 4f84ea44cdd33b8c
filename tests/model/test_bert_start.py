"""BERT's checkpoints as the start of a RoFormer: all but its positions is kept."""

import pytest
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM

from roformer import model as ours
from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM, RoFormerModel
from tests.model.test_stock_interop import HEADS, TOKENS, assert_same_outputs

LEARNED = {"name": "learned"}


def bert_class(head):
    return getattr(transformers, {"ForCausalLM": "BertLMHeadModel"}.get(head, f"Bert{head}"))


@pytest.fixture
def bert(sizes, visible_weights):
    """The function that builds a BERT with that head; without positions, its table is zero."""

    def build(head, *, positions=True, **settings):
        model = visible_weights(bert_class(head)(BertConfig(**{**sizes, **HEADS.get(head, {}), **settings})))
        if not positions:
            with torch.no_grad():
                model.base_model.embeddings.position_embeddings.weight.zero_()
        return model

    return build


@pytest.fixture
def reports(caplog, monkeypatch):
    """The function that returns what was reported so far."""
    monkeypatch.setattr(transformers.utils.logging.get_logger("transformers"), "propagate", True)
    return lambda: [record.message for record in caplog.records if record.name.startswith("roformer.")]


@pytest.mark.parametrize("head", HEADS)
def test_all_but_positions_is_kept(head, bert, tmp_path):
    """Catches a weight of the body or of a head that is lost, or meets another activation or token."""
    stock = bert(head, positions=False)
    stock.save_pretrained(tmp_path)
    read = getattr(ours, f"RoFormer{head}").from_transformers(tmp_path, position={"name": "none"})
    assert_same_outputs(read, stock, head)


@pytest.mark.parametrize("head", HEADS)
def test_learned_positions_leave_it_a_bert(head, bert, reports):
    """Catches a table that is drawn anew although the encoding that has it is asked for."""
    stock = bert(head)
    read = getattr(ours, f"RoFormer{head}").from_transformers(stock, position=LEARNED)
    assert_same_outputs(read, stock, head)
    assert not reports()


@pytest.mark.parametrize("head", HEADS)
def test_learned_positions_go_back_to_bert(head, bert, tmp_path):
    """Catches a weight that is lost on the way back, or a class of transformers that cannot read it."""
    stock = bert(head)
    read = getattr(ours, f"RoFormer{head}").from_transformers(stock, position=LEARNED)
    read.to_transformers().save_pretrained(tmp_path)
    back, loaded = bert_class(head).from_pretrained(tmp_path, output_loading_info=True)
    assert not {*loaded["missing_keys"], *loaded["unexpected_keys"]}
    assert_same_outputs(back.eval(), stock, head)


@pytest.mark.parametrize("types", [0, 2])
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_a_model_of_ours_becomes_a_bert(position, types, tiny_model):
    """Catches added positions that no other library can read, although BERT is that model."""
    model = tiny_model(position, type_vocab_size=types)
    back = model.to_transformers()
    assert isinstance(back, BertForMaskedLM)
    with torch.no_grad():
        torch.testing.assert_close(back(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        (RoFormerForMaskedLM, {"embedding_size": 16}, "embedding_size=16"),
        (RoFormerForMaskedLM, {"use_bias": False}, "use_bias=False"),
        (RoFormerModel, {"add_pooler": True, "pooler_activation": "linear"}, "pooler_activation=linear"),
        (ours.RoFormerForSequenceClassification, {}, "pooling=cls, classifier_activation=None|classifier_activation"),
        (ours.RoFormerForTokenClassification, {"classifier_activation": "gelu"}, "classifier_activation=gelu"),
    ],
)
def test_what_bert_does_not_have_is_refused(model_class, settings, message, tiny_model):
    """Catches a BERT that silently computes something else."""
    with pytest.raises(UserError, match=message):
        tiny_model("learned", model_class=model_class, **settings).to_transformers()


def test_the_change_of_positions_is_reported(bert, reports):
    """Catches a model that is used at once, though half of what it knew of order is gone."""
    read = RoFormerForMaskedLM.from_transformers(bert("ForMaskedLM"))
    assert read.config.position["name"] == "rope"
    assert reports() == [
        "'BertForMaskedLM' is a BERT, whose table of positions is replaced by rope: train the model on before you use "
        "it"
    ]


@pytest.mark.parametrize("position", ["rope", "t5", "alibi", "shaw", "deberta"])
def test_any_encoding_takes_the_place(position, bert, position_settings):
    """Catches an encoding with weights of its own, which the checkpoint cannot have."""
    settings = position_settings[position]
    read = RoFormerForMaskedLM.from_transformers(bert("ForMaskedLM"), position=settings)
    swapped = TOKENS[:, [0, 11, *range(2, 11), 1]]
    with torch.no_grad():
        assert (read(TOKENS).logits[:, 0] - read(swapped).logits[:, 0]).abs().max() > 1e-4


def test_pretraining_with_next_sentences(bert, tmp_path):
    """Catches Google's own form, with two heads, of which one is of no use here."""
    stock = bert("ForPreTraining", positions=False)
    stock.save_pretrained(tmp_path)
    read = RoFormerForMaskedLM.from_transformers(tmp_path, position={"name": "none"})
    with torch.no_grad():
        torch.testing.assert_close(read(TOKENS).logits, stock(TOKENS).prediction_logits, atol=1e-5, rtol=0)


def test_pooler(bert):
    """Catches the vector of a sentence that is drawn at random, or is not there."""
    stock = bert("ForPreTraining", positions=False)
    read = RoFormerModel.from_transformers(stock, position={"name": "none"})
    with torch.no_grad():
        expected = stock.bert(TOKENS).pooler_output
        torch.testing.assert_close(read(TOKENS).pooler_output, expected, atol=1e-5, rtol=0)
    linear = RoFormerModel.from_transformers(stock, position={"name": "none"}, pooler_activation="linear")
    with torch.no_grad():
        torch.testing.assert_close(linear(TOKENS).pooler_output.tanh(), expected, atol=1e-5, rtol=0)
    assert RoFormerForMaskedLM.from_transformers(stock).roformer.pooler is None  # its gradient would always be None


def test_another_model_with_its_settings(sizes):
    """Catches a BERT that reads an encoder, whose attention to it would be dropped."""
    decoder = BertForMaskedLM(BertConfig(**sizes, is_decoder=True, add_cross_attention=True))
    with pytest.raises(UserError, match="add_cross_attention"):
        ours.RoFormerForCausalLM.from_transformers(decoder)
