"""Reading and writing stock RoFormers: from a folder, from memory, in other types, and what cannot be read."""

import json

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM
from transformers import RoFormerModel as StockRoFormerModel

from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM

TOKENS = torch.arange(1, 13)[None]


@pytest.fixture
def stock(sizes, visible_weights):
    return visible_weights(StockRoFormerForMaskedLM(StockConfig(**sizes, embedding_size=16)))


def test_reads_a_folder(stock, tmp_path):
    """Catches weights that are lost on the way through the file, and settings that only the memory has."""
    stock.save_pretrained(tmp_path)
    model = RoFormerForMaskedLM.from_transformers(str(tmp_path)).eval()
    torch.testing.assert_close(model(TOKENS).logits, stock(TOKENS).logits, atol=1e-5, rtol=0)
    assert model.config.embedding_size == 16
    expected = {
        "name": "rope",
        "rope_theta": 10_000.0,
        "layout": "interleaved",
        "partial_rotary_factor": 1.0,
        "frequency_band": "all",
    }
    assert model.config.position == expected


def test_there_and_back_is_bit_exact(tiny_model, tmp_path):
    """Catches a weight that one of the two directions forgets."""
    model = tiny_model("rope", embedding_size=16)
    model.to_transformers().save_pretrained(tmp_path)
    for source in (model.to_transformers(), str(tmp_path)):
        back = RoFormerForMaskedLM.from_transformers(source).eval()
        assert back.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(back.state_dict()[key], value) for key, value in model.state_dict().items())
        assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)


def test_output_layer_that_is_not_tied(sizes, visible_weights):
    """Catches an output layer that is overwritten by the embeddings where the two are trained apart."""
    stock = visible_weights(StockRoFormerForMaskedLM(StockConfig(**sizes, tie_word_embeddings=False)))
    assert not torch.equal(stock.get_output_embeddings().weight, stock.get_input_embeddings().weight)
    model = RoFormerForMaskedLM.from_transformers(stock).eval()
    torch.testing.assert_close(model(TOKENS).logits, stock(TOKENS).logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.to_transformers()(TOKENS).logits, stock(TOKENS).logits)


@pytest.mark.parametrize("training", [False, True])
def test_type_and_mode_are_kept(stock, training):
    """Catches a model that comes back in float32, or with its dropout switched on."""
    model = RoFormerForMaskedLM.from_transformers(stock.to(torch.bfloat16).train(training))
    assert (model.dtype, model.training) == (torch.bfloat16, training)
    back = model.to_transformers()
    assert (back.dtype, back.training) == (torch.bfloat16, training)


def test_settings_may_be_changed_on_the_way(stock):
    """Catches overrides that are dropped; the weights must stay their own after training one of the two."""
    model = RoFormerForMaskedLM.from_transformers(stock, attention_backend="eager", hidden_dropout_prob=0.25)
    assert model(TOKENS, output_attentions=True).attentions[0].shape == (1, 4, 12, 12)
    assert model.roformer.layers[0].dropout.p == 0.25
    before = stock(TOKENS).logits
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    assert torch.equal(stock(TOKENS).logits, before)


def test_table_size_does_not_bind_ours(stock, tmp_path):
    """Catches a limit that comes along: stock RoFormer ends at max_position_embeddings, ours does not."""
    model = RoFormerForMaskedLM.from_transformers(stock)
    tokens = torch.ones(1, 65, dtype=torch.long)
    assert model(tokens).logits.shape == (1, 65, 60)
    with pytest.raises(IndexError):
        stock(tokens)


def refusal(source):
    with pytest.raises(UserError) as error:
        RoFormerForMaskedLM.from_transformers(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folder_that_is_not_there(tmp_path):
    """Catches a traceback, or an attempt to download, for a mistyped path."""
    assert f"no Hugging Face RoFormer at '{tmp_path / 'missing'}'" in refusal(str(tmp_path / "missing"))


def test_folder_without_weights(tmp_path, sizes):
    """Catches random weights where the file with the trained ones is not there."""
    StockConfig(**sizes).save_pretrained(tmp_path)
    assert f"no Hugging Face RoFormer at '{tmp_path}'" in refusal(str(tmp_path))


def test_folder_with_a_broken_file(tmp_path):
    """Catches a traceback from the JSON parser."""
    (tmp_path / "config.json").write_text("{ no json", encoding="utf-8")
    assert f"no Hugging Face RoFormer at '{tmp_path}'" in refusal(str(tmp_path))


@pytest.mark.parametrize("kind", ["bert", "roformer_lab"])
def test_folder_of_another_model(kind, tmp_path, sizes, tiny_model):
    """Catches weights of another architecture that are loaded as far as the names agree."""
    model = BertForMaskedLM(BertConfig(**sizes)) if kind == "bert" else tiny_model()
    model.save_pretrained(tmp_path)
    message = refusal(str(tmp_path))
    assert "from_transformers reads a Hugging Face RoFormerForMaskedLM" in message
    assert str(tmp_path) in message
    assert f"'{kind}'" in message


def test_folder_of_a_stock_model_without_its_head(tmp_path, sizes):
    """Catches an MLM head with random weights, which transformers puts in place of a missing one."""
    StockRoFormerModel(StockConfig(**sizes)).save_pretrained(tmp_path)
    assert "head" in refusal(str(tmp_path))


def test_other_models_in_memory(sizes):
    """Catches an error about missing keys where the model is none of stock's encoders with a head."""
    for model in (
        BertForMaskedLM(BertConfig(**sizes)),
        StockRoFormerModel(StockConfig(**sizes)),
        StockRoFormerForMaskedLM(StockConfig(**sizes, is_decoder=True)),
    ):
        assert refusal(model).startswith("from_transformers reads a Hugging Face RoFormerForMaskedLM encoder, got ")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sinusoidal", {}),
        ("learned", {}),
        ("none", {}),
        ("rope", {"rope_theta": 500_000.0}),
        ("rope", {"layout": "half"}),
        ("rope", {"partial_rotary_factor": 0.5}),
    ],
)
def test_positions_that_stock_does_not_know(name, settings, tiny_model):
    """Catches an export that runs and computes something else: stock RoFormer ignores such settings in silence."""
    with pytest.raises(UserError, match=r"has no equivalent of position .* rope only, interleaved"):
        tiny_model(name, settings=settings).to_transformers()


@pytest.mark.parametrize(
    "settings",
    [{"normalize_embedding": False}, {"scale_embedding": True}, {"attention_backend": "linear"}],
    ids=lambda settings: next(iter(settings)),
)
def test_models_that_stock_does_not_know(settings, tiny_model):
    """Catches a stock model that has the weights and computes something else."""
    with pytest.raises(UserError, match="an encoder with softmax attention"):
        tiny_model(**settings).to_transformers()


def test_written_configuration_is_stocks(tiny_model, tmp_path):
    """Catches an export that transformers alone could not open."""
    tiny_model().to_transformers().save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert stored["model_type"] == "roformer"
    assert "position" not in stored
    assert "attention_backend" not in stored
