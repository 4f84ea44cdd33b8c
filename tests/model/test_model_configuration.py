"""The model's configuration: what it refuses, in which words, and what its file keeps."""

import json

import pytest
import torch
from transformers import AutoConfig

from roformer import RoFormerForMaskedLM, RoFormerLabConfig, RoFormerModel
from roformer.errors import UserError
from tests.choices import each_encoding


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hiden_size": 32}, "RoFormerLabConfig has no setting 'hiden_size'; did you mean 'hidden_size'?"),
        ({"rope_theta": 500.0}, "RoFormerLabConfig has no setting 'rope_theta'"),
        ({"position": {"name": "rop"}}, "unknown position encoding 'rop'; did you mean 'rope'? (available: alibi, "),
        ({"position": {"name": "sinusodial"}}, "did you mean 'sinusoidal'?"),
        ({"position": {"rope_theta": 100.0}}, "position encoding"),
        ({"position": "rope"}, "position"),
        (
            {"attention_backend": "spda"},
            "unknown attention backend 'spda'; did you mean 'sdpa'? (available: auto, blocked, eager, ",
        ),
        ({"hidden_size": 30}, "hidden_size 30 is not a multiple of num_attention_heads 4"),
        ({"num_attention_heads": 0}, "RoFormerLabConfig.num_attention_heads must be at least 1, got 0"),
        ({"vocab_size": 0}, "RoFormerLabConfig.vocab_size must be at least 1, got 0"),
        ({"hidden_act": "gelo"}, "RoFormerLabConfig.hidden_act: unknown 'gelo'; did you mean 'gelu'?"),
        ({"pooling": "max"}, "RoFormerLabConfig.pooling='max' is not possible (allowed: cls, mean, last)"),
        ({"intermediate_size": "wide"}, "RoFormerLabConfig.intermediate_size='wide' is not possible (allowed: int)"),
        (
            {"rotary_value": True, "position": {"name": "sinusoidal"}},
            "rotary_value needs position rope, got 'sinusoidal'",
        ),
        (
            {"local_attention": 7},
            "RoFormerLabConfig.local_attention counts tokens, half of them to each side: it must",
        ),
        ({"local_attention": -2}, "even and at least 2, or null for attention to all tokens, got -2"),
        (
            {"local_attention": 8, "global_attn_every_n_layers": 0},
            "global_attn_every_n_layers must be at least 1, got 0",
        ),
        (
            {"local_attention": 8, "attention_backend": "linear"},
            "LinearAttention attends to whole texts and has no local attention: set model.local_attention=null, or",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, value.items())),
)
def test_mistakes_are_refused_in_one_line(config, message, sizes):
    """Catches a misspelt key that is stored and ignored, and a value that fails later in a matrix product."""
    with pytest.raises(UserError) as error:
        RoFormerLabConfig(**{**sizes, **config})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ({"name": "rope", "rope_teta": 1.0}, "has no setting 'rope_teta'; did you mean 'rope_theta'? (it takes: "),
        ({"name": "none", "base": 1.0}, "position encoding 'none' has no setting 'base' (it takes: no settings)"),
    ],
)
def test_misspelt_setting_of_an_encoding_is_refused(position, message, sizes):
    """Catches a setting that the encoding does not take and would otherwise leave at its default."""
    with pytest.raises(UserError) as error:
        RoFormerModel(RoFormerLabConfig(**sizes, position=position))
    assert message in str(error.value)


@each_encoding
def test_file_keeps_every_setting(encoding, position_settings, sizes, tmp_path):
    """Catches a setting that is not written, or that comes back changed; the class must be ours."""
    config = RoFormerLabConfig(
        **sizes,
        position=position_settings[encoding],
        embedding_size=16,
        attention_backend="eager",
        pooling="mean",
        num_labels=5,
        classifier_dropout=0.25,
        rotary_value=encoding == "rope",
        local_attention=8,
        global_attn_every_n_layers=2,
    )
    config.save_pretrained(tmp_path)
    for back in (RoFormerLabConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(back) is RoFormerLabConfig
        assert {**back.to_dict(), "_name_or_path": ""} == config.to_dict()
        assert back.position == position_settings[encoding]
        assert (back.embedding_size, back.pooling, back.num_labels) == (16, "mean", 5)
        assert (back.local_attention, back.global_attn_every_n_layers) == (8, 2)


def test_file_has_another_model_type_than_stock(sizes, tmp_path):
    """Catches the name that transformers has given to its own RoFormer."""
    RoFormerLabConfig(**sizes).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == "roformer_lab"


def test_file_of_another_program_is_read(sizes, tmp_path, caplog):
    """Catches a configuration that refuses, or loses, what transformers.Trainer, a quantizer or another library
    wrote into the file; a hand-edited typing error is named."""
    RoFormerLabConfig(**sizes).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    added = {
        "use_cache": False,
        "quantization_config": {"quant_method": "torchao", "quant_type": "int8"},
        "problem_type": "regression",
        "is_composition": False,
        "atention_backend": "eager",
        "somebodys": {"own": [1, 2]},
    }
    (tmp_path / "config.json").write_text(json.dumps({**stored, **added}), encoding="utf-8")
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is RoFormerLabConfig
    assert {key: getattr(config, key) for key in added} == added
    config.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))
    assert {key: again[key] for key in added} == added
    assert "'atention_backend'; did you mean 'attention_backend'" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_cache", None),
        ("hidden_dropout_prob", None),
        ("problem_type", None),
        ("quantization_config", None),
        ("rope_scaling", None),
        ("id2label", None),
        ("eos_token_id", [1, 2]),
        ("torch_dtype", "float32"),
        ("_name_or_path", "somewhere"),
        ("_attn_implementation", "sdpa"),
        ("transformers_version", "4.30.0"),
        ("sentence_transformers", {"version": "5.0", "more": [{"deep": None}]}),
        ("generation_config", {"max_length": 3}),
        ("max_length", 20),
        ("shape", [1, 2]),
        ("attention", "full"),
        ("use_return_dict", True),
        ("to_dict", 1),
        ("class", "x"),
        ("", 0),
    ],
)
def test_any_key_of_a_file_leaves_the_model_as_it_was(key, value, tiny_model, tmp_path):
    """Catches a null, a name of an older transformers, or one that is a method or property here, that ends in a
    traceback or changes the model, on loading or after it is saved again."""
    model = tiny_model()
    model.save_pretrained(tmp_path / "given")
    file = tmp_path / "given" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), key: value}), encoding="utf-8")
    loaded = RoFormerForMaskedLM.from_pretrained(tmp_path / "given").eval()
    loaded.save_pretrained(tmp_path / "again")
    again = RoFormerForMaskedLM.from_pretrained(tmp_path / "again").eval()
    tokens = torch.arange(12)[None]
    for each in (loaded, again):
        assert torch.equal(each(tokens).logits, model(tokens).logits)
        assert each.config.use_cache is True


def test_nothing_is_taken_from_a_person_that_a_file_may_hold(sizes):
    """Catches strictness that was given up where somebody types."""
    for name in ("somebodys", "shape", "to_dict"):
        with pytest.raises(UserError, match=f"no setting '{name}'"):
            RoFormerLabConfig(**sizes, **{name: 1})
    with pytest.raises(UserError, match="use_cache=None is not possible"):
        RoFormerLabConfig(**sizes, use_cache=None)
    assert RoFormerLabConfig(**sizes, use_cache=False, problem_type="regression").use_cache is False


def test_defaults_are_bert_base_with_the_papers_positions():
    """Catches a default that drifts from section 4.2 of the paper, and one that two configurations share."""
    config, other = RoFormerLabConfig(), RoFormerLabConfig()
    sizes = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    assert sizes == (768, 12, 12, 3072)
    assert (config.vocab_size, config.max_position_embeddings, config.hidden_act) == (30522, 512, "gelu")
    assert config.embedding_size == config.hidden_size
    config.position["name"] = "none"
    assert other.position == {"name": "rope"}


def test_given_settings_are_copied(sizes):
    """Catches a configuration that changes when the caller's dictionary does."""
    position = {"name": "rope", "rope_theta": 100.0}
    config = RoFormerLabConfig(**sizes, position=position)
    position["rope_theta"] = 7.0
    assert config.position["rope_theta"] == 100.0
