"""Reading and writing stock RoFormers with every head: from a folder, from memory, and what cannot be read."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM
from transformers import RoFormerModel as StockRoFormerModel

from roformer import model as ours
from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM, RoFormerModel
from roformer.model.interop import ForeignCheckpoint

TOKENS = torch.arange(1, 13)[None]
HEADS = {  # of stock RoFormer -> settings that its configuration needs
    "Model": {},
    "ForMaskedLM": {},
    "ForCausalLM": {"is_decoder": True},
    "ForSequenceClassification": {"num_labels": 3},
    "ForTokenClassification": {"num_labels": 5},
    "ForQuestionAnswering": {},
    "ForMultipleChoice": {},
}
VARIANTS = {
    "plain": {},
    "rotary_value": {"rotary_value": True},
    "narrow": {"embedding_size": 16},
    "untied": {"tie_word_embeddings": False},
    "other": {"hidden_act": "relu", "layer_norm_eps": 1e-5, "type_vocab_size": 3},
}


def stock_class(head):
    return getattr(transformers, f"RoFormer{head}")


def our_class(head):
    return getattr(ours, f"RoFormer{head}")


def outputs(model, head):
    """All hidden states, and what the head says."""
    tokens = torch.stack([TOKENS, TOKENS.flip(1)], dim=1) if head == "ForMultipleChoice" else TOKENS
    types = (tokens > 6).long()
    more = {"use_cache": False} if head == "ForCausalLM" else {}
    found = model(tokens, token_type_ids=types, output_hidden_states=True, **more)
    said = [found[name] for name in ("logits", "start_logits", "end_logits") if name in found]
    return [*found.hidden_states, *said]


def assert_same_outputs(model, other, head):
    with torch.no_grad():
        torch.testing.assert_close(outputs(model, head), outputs(other, head), atol=1e-5, rtol=0)


@pytest.fixture
def stock(sizes, visible_weights):
    return visible_weights(StockRoFormerForMaskedLM(StockConfig(**sizes, embedding_size=16)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_both_ways(head, variant, sizes, visible_weights, tmp_path):
    """Catches a head that cannot be read, is drawn at random, or computes something else on the way in or out."""
    config = StockConfig(**{**sizes, **HEADS[head], **VARIANTS[variant]})
    stock = visible_weights(stock_class(head)(config))
    stock.save_pretrained(tmp_path)
    read = our_class(head).from_transformers(tmp_path)
    assert_same_outputs(read, stock, head)
    assert_same_outputs(our_class(head).from_transformers(stock), stock, head)
    back = read.to_transformers()
    assert type(back) is type(stock)
    assert_same_outputs(back, stock, head)


@pytest.mark.parametrize("labels", [{"num_labels": 3}, {"id2label": {0: "no", 1: "yes", 2: "so"}}])
def test_labels_come_along(labels, sizes, visible_weights):
    """Catches a classifier whose numbers no longer have names."""
    stock = stock_class("ForSequenceClassification")(StockConfig(**sizes, **labels))
    read = our_class("ForSequenceClassification").from_transformers(stock)
    assert read.config.id2label == stock.config.id2label
    assert read.to_transformers().config.id2label == stock.config.id2label


@pytest.mark.parametrize("form", ["bin", "sharded bin", "sharded safetensors", "old names"])
def test_forms_of_files(form, stock, tmp_path):
    """Catches a form of weights that is common on the hub and is not found, or read in part."""
    weights = stock.state_dict()
    stock.config.architectures = ["RoFormerForMaskedLM"]
    stock.config.save_pretrained(tmp_path)
    if form == "bin":
        torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    elif form == "sharded bin":
        for part in (0, 1):
            shard = {name: weight for number, (name, weight) in enumerate(weights.items()) if number % 2 == part}
            torch.save(shard, tmp_path / f"pytorch_model-{part + 1:05}-of-00002.bin")
    elif form == "sharded safetensors":
        stock.save_pretrained(tmp_path, max_shard_size="8KB")
        assert len(list(tmp_path.glob("*.safetensors"))) > 2
    else:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        renamed = {}
        for name, weight in weights.items():
            end = ".".join(name.split(".")[-2:])
            renamed[name.removesuffix(end) + old.get(end, end)] = weight
        torch.save(renamed, tmp_path / "pytorch_model.bin")
    assert_same_outputs(RoFormerForMaskedLM.from_transformers(tmp_path), stock, "ForMaskedLM")


def test_the_table_of_angles_means_nothing(stock, tmp_path):
    """Catches a refusal of the edit that every guide asks for: another max_position_embeddings than the table has."""
    stock.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 4096}))
    read = RoFormerForMaskedLM.from_transformers(tmp_path)
    assert read.config.max_position_embeddings == 4096
    assert_same_outputs(read, stock, "ForMaskedLM")


@pytest.mark.parametrize("head", [head for head in HEADS if head != "ForMaskedLM"])
def test_another_head_is_drawn_and_reported(head, stock, caplog, monkeypatch):
    """Catches a head with random weights that passes for a trained one, and a body that is drawn with it."""
    monkeypatch.setattr(transformers.utils.logging.get_logger("transformers"), "propagate", True)
    read = our_class(head).from_transformers(stock)
    body = read if head == "Model" else read.roformer
    with torch.no_grad():
        found = body(TOKENS, is_causal=False).last_hidden_state
        torch.testing.assert_close(found, stock.roformer(TOKENS).last_hidden_state, atol=1e-5, rtol=0)
    reports = [record.message for record in caplog.records if "drawn anew" in record.message]
    assert len(reports) == (head not in ("Model", "ForCausalLM"))
    assert all(("classifier" in report) != ("qa_outputs" in report) for report in reports)


@pytest.mark.parametrize("head", [head for head in HEADS if head not in ("ForMaskedLM", "ForCausalLM")])
def test_a_head_that_the_target_lacks_is_dropped(head, sizes, visible_weights):
    """Catches a classifier in place of another one, because both are called so."""
    stock = visible_weights(stock_class(head)(StockConfig(**sizes, **HEADS[head])))
    target = "ForTokenClassification" if head != "ForTokenClassification" else "ForSequenceClassification"
    read = our_class(target).from_transformers(stock)
    assert read.config.classifier_activation is None
    assert read.classifier.weight.std() < 0.05  # drawn: theirs are larger
    assert_same_outputs(RoFormerModel.from_transformers(stock), getattr(stock, "roformer", stock), "Model")


def test_another_number_of_labels_draws_the_classifier(sizes, visible_weights):
    """Catches a traceback about shapes where a classifier is fine-tuned on other classes."""
    stock = visible_weights(stock_class("ForSequenceClassification")(StockConfig(**sizes, num_labels=3)))
    read = our_class("ForSequenceClassification").from_transformers(stock, num_labels=7)
    assert read.classifier.weight.shape == (7, 32)
    assert torch.equal(read.dense.weight, stock.classifier.dense.weight)


def test_there_and_back_is_bit_exact(tiny_model, tmp_path):
    """Catches a weight that one of the two directions forgets."""
    model = tiny_model("rope", embedding_size=16)
    model.to_transformers().save_pretrained(tmp_path)
    for source in (model.to_transformers(), str(tmp_path)):
        back = RoFormerForMaskedLM.from_transformers(source).eval()
        assert back.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(back.state_dict()[key], value) for key, value in model.state_dict().items())
        assert torch.equal(back(TOKENS).logits, model(TOKENS).logits)


def test_no_token_types_become_one_that_adds_nothing(tiny_model):
    """Catches a stock model without a row for the type that it always adds."""
    model = tiny_model("rope", type_vocab_size=0)
    with torch.no_grad():
        torch.testing.assert_close(model.to_transformers()(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
def test_type_and_mode_are_kept(stock, training, tmp_path):
    """Catches a model that comes back in float32, or with its dropout switched on."""
    model = RoFormerForMaskedLM.from_transformers(stock.to(torch.bfloat16).train(training))
    assert (model.dtype, model.training) == (torch.bfloat16, training)
    back = model.to_transformers()
    assert (back.dtype, back.training) == (torch.bfloat16, training)
    stock.save_pretrained(tmp_path)
    read = RoFormerForMaskedLM.from_transformers(tmp_path)
    assert (read.dtype, read.training) == (torch.bfloat16, False)


def test_settings_may_be_changed_on_the_way(stock):
    """Catches overrides that are dropped; the weights must stay their own after training one of the two."""
    model = RoFormerForMaskedLM.from_transformers(stock, attention_backend="eager", hidden_dropout_prob=0.25)
    assert model(TOKENS, output_attentions=True).attentions[0].shape == (1, 4, 12, 12)
    assert model.roformer.layers[0].dropout.p == 0.25
    before = stock(TOKENS).logits
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    assert torch.equal(stock(TOKENS).logits, before)


def test_table_size_does_not_bind_ours(stock):
    """Catches a limit that comes along: stock RoFormer ends at max_position_embeddings, ours does not."""
    model = RoFormerForMaskedLM.from_transformers(stock)
    tokens = torch.ones(1, 65, dtype=torch.long)
    assert model(tokens).logits.shape == (1, 65, 60)
    with pytest.raises(IndexError):
        stock(tokens)


def refusal(source, model_class=RoFormerForMaskedLM):
    with pytest.raises(UserError) as error:
        model_class.from_transformers(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folder_that_is_not_there(tmp_path):
    """Catches a traceback, or an attempt to download, for a mistyped path."""
    assert f"no model at '{tmp_path / 'missing'}'" in refusal(str(tmp_path / "missing"))


def test_name_of_the_hub_without_a_network(monkeypatch):
    """Catches a traceback of many lines, or a wait, where the hub cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("junnyu/roformer_chinese_base", "junnyu/roformer_chinese_base@main"):
        assert refusal(name).startswith(f"'{name}' is no folder, and as a name on the hub it cannot be loaded (")


def test_folder_without_weights(tmp_path, sizes):
    """Catches random weights where the file with the trained ones is not there."""
    StockConfig(**sizes).save_pretrained(tmp_path)
    assert refusal(str(tmp_path)).startswith(f"no weights in '{tmp_path}'")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_folder_without_one_shard(tmp_path, stock, suffix):
    """Catches advice on config.json where a download has not fetched all files, and after the corpus was tokenized."""
    stock.config.save_pretrained(tmp_path)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    for number in (1, 3):
        (tmp_path / f"{stem}-{number:05}-of-00004.{suffix}").touch()
    with pytest.raises(UserError, match="lacks shards of its weights") as error:
        ForeignCheckpoint(tmp_path)  # reads no weights
    assert f": {stem}-00002-of-00004, {stem}-00004-of-00004; copy them there" in str(error.value)


@pytest.mark.parametrize("content", ["{ no json", "[]", '{"model_type": "roformer", "hidden_size": "many"}'])
def test_folder_with_a_broken_file(content, tmp_path):
    """Catches a traceback from the JSON parser, or from transformers."""
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    (tmp_path / "model.safetensors").touch()
    assert "config.json" in refusal(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_broken_weights(name, stock, tmp_path):
    """Catches a traceback from a library about a file that a download has cut short."""
    stock.config.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(b"no weights")
    assert refusal(str(tmp_path)).startswith(f"cannot read the weights in {tmp_path / name}")


def test_weights_of_the_body_must_all_be_there(stock, tmp_path):
    """Catches a layer that starts from random weights without a word."""
    stock.config.save_pretrained(tmp_path)
    weights = stock.state_dict()
    del weights["roformer.encoder.layer.1.output.dense.weight"]
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert "has no weights for roformer.layers.1.output.weight, which needs (32, 48)" in refusal(tmp_path)


@pytest.mark.parametrize(("setting", "told"), [("num_hidden_layers", "no place for"), ("vocab_size", "(60, 16) as")])
def test_weights_that_the_configuration_denies(setting, told, stock, tmp_path):
    """Catches half of a model, where config.json was edited."""
    stock.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), setting: 1}))
    assert told in refusal(tmp_path)


def test_quantized_weights(stock, tmp_path):
    """Catches whole numbers that are taken as weights, without their scale."""
    stock.config.save_pretrained(tmp_path)
    whole = {name: weight.to(torch.int8) for name, weight in stock.state_dict().items()}
    torch.save(whole, tmp_path / "pytorch_model.bin")
    assert "as torch.int8, not as floats" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["gpt2", "roformer_lab"])
def test_folder_of_another_model(kind, tmp_path, tiny_model):
    """Catches weights of another architecture that are loaded as far as the names agree."""
    tiny_model().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"roformer_lab"', f'"{kind}"'))
    message = refusal(str(tmp_path))
    assert message.startswith(f"'{tmp_path}' holds a model of type '{kind}'")
    assert ("use from_pretrained" in message) == (kind == "roformer_lab")


def test_a_decoder_is_no_encoder(sizes):
    """Catches masked tokens that are predicted from one side."""
    assert "has is_decoder" in refusal(StockRoFormerForMaskedLM(StockConfig(**sizes, is_decoder=True)))
    cross = StockConfig(**sizes, is_decoder=True, add_cross_attention=True)
    assert "add_cross_attention" in refusal(StockRoFormerModel(cross), ours.RoFormerForCausalLM)


def test_an_encoder_decoder_has_no_counterpart(stock):
    """Catches a translation model whose weights are all random."""
    assert "no counterpart" in refusal(stock, ours.RoFormerForConditionalGeneration)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
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
    ("head", "settings"),
    [
        ("ForMaskedLM", {"normalize_embedding": False}),
        ("ForMaskedLM", {"scale_embedding": True}),
        ("ForMaskedLM", {"attention_backend": "linear"}),
        ("ForMaskedLM", {"norm_type": "rms_norm"}),
        ("ForMaskedLM", {"use_bias": False}),
        ("ForMaskedLM", {"local_attention": 4}),
        ("Model", {"add_pooler": True}),
        ("ForSequenceClassification", {"pooling": "mean"}),
        ("ForSequenceClassification", {"hidden_act": "tanh"}),
        ("ForSequenceClassification", {"num_labels": 17}),
        ("ForSequenceClassification", {"classifier_activation": "tanh"}),
        ("ForSequenceClassification", {"classifier_activation": "gelu", "pooling": "mean"}),
        ("ForTokenClassification", {"classifier_activation": "gelu"}),
    ],
)
def test_models_that_stock_does_not_know(head, settings, tiny_model):
    """Catches a stock model that has the weights and computes something else."""
    with pytest.raises(UserError, match=r"^Hugging Face RoFormer .*this model (is not|has )"):
        tiny_model(model_class=our_class(head), **settings).to_transformers()


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu"])
@pytest.mark.parametrize("labels", [1, 3, 16])
def test_a_linear_classifier_is_one_of_stock(act, labels, tiny_model):
    """Catches a classifier fine-tuned on a stock checkpoint that cannot go back, and one with other logits."""
    model = tiny_model(model_class=our_class("ForSequenceClassification"), hidden_act=act, num_labels=labels).double()
    torch.nn.init.normal_(model.classifier.weight)
    torch.nn.init.normal_(model.classifier.bias)
    stock = model.to_transformers()
    assert type(stock) is stock_class("ForSequenceClassification")
    assert_same_outputs(stock, model, "ForSequenceClassification")
    assert_same_outputs(type(model).from_transformers(stock), model, "ForSequenceClassification")


@pytest.mark.parametrize("settings", [{}, {"pooling": "last"}, {"pooling": "cls", "classifier_activation": "tanh"}])
def test_multiple_choice_that_stock_summarizes(settings, tiny_model):
    """Catches a summary of another token, or without its dense layer."""
    model = tiny_model(model_class=our_class("ForMultipleChoice"), **settings)
    assert_same_outputs(model.to_transformers(), model, "ForMultipleChoice")
    assert_same_outputs(type(model).from_transformers(model.to_transformers()), model, "ForMultipleChoice")


def test_written_configuration_is_stocks(tiny_model, tmp_path):
    """Catches an export that transformers alone could not open."""
    model = tiny_model()
    model.to_transformers().save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert stored["model_type"] == "roformer"
    assert "position" not in stored
    assert "attention_backend" not in stored
    assert not any(name.startswith("roformer.layers") for name in load_file(tmp_path / "model.safetensors"))
