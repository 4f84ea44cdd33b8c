"""``python -m roformer.export gguf``: what llama.cpp computes from the file, and what is refused.

With ``pip install llama-cpp-python``, which compiles llama.cpp, the tests run it as well.
"""

from importlib.util import find_spec

import pytest
import torch
from transformers import AddedToken, AutoModel, AutoTokenizer, PreTrainedTokenizerFast, RoFormerTokenizer

from roformer.io import atomic_folder, damage
from roformer.model import (
    RoFormerForCausalLM,
    RoFormerForMaskedLM,
    RoFormerForSequenceClassification,
    RoFormerForTokenClassification,
)
from roformer.model.pooling import pool
from roformer.tokenizer.bpe import BytePairTokenizer
from roformer.tokenizer.wordpiece import WordPieceTokenizer

pytest.importorskip("gguf")

from tests.export.llama_cpp import CompiledRuntime, NumpyRuntime

TEXTS = ["one", "The café's keys: 2 + 3 = ~5!", "ROTARY\tpositions\x07 and ☃ \n\n caféteria (unknown)", ""]
CORPUS = ["the rotary positions of keys and cafés 0 1 2 3 4 5 : ' = + ! ~ ( )", "one The Café of Positions"] * 3
SAME = {"hidden_act": "gelu_new"}  # the formula of llama.cpp


@pytest.fixture(scope="module", params=[True, False], ids=["lowercase", "cased"])
def tokenizer(request):
    """Knows the letters of the texts but for ☃ and a few capitals."""
    settings = {"vocab_size": 150, "alphabet_size": 40, "max_characters": None}
    return WordPieceTokenizer(lowercase=request.param, **settings).train(lambda: iter(CORPUS))


@pytest.fixture
def save(tmp_path, tiny_model, tokenizer):
    """Saves a tiny model with the tokenizer; returns the folder."""

    def call(model_class=RoFormerForMaskedLM, **config):
        tiny_model(model_class=model_class, vocab_size=160, **config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return call


@pytest.fixture(params=[NumpyRuntime, *([CompiledRuntime] if find_spec("llama_cpp") else [])])
def runtime(request):
    """What reads a file as llama.cpp does."""
    return request.param


def vector(folder, text, how="mean"):
    """Returns ours (C,), of what ``from_pretrained`` reads."""
    body, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        hidden_states = body(tokenizer(text, return_tensors="pt")["input_ids"]).last_hidden_state
    return pool(hidden_states, how, None, None)[0].double()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"settings": {"layout": "half"}},
        {"settings": {"layout": "interleaved", "partial_rotary_factor": 0.5, "rope_theta": 300.0}},
        {"type_vocab_size": 0, "layer_norm_eps": 0.1},
        {"add_pooler": True, "model_class": RoFormerForTokenClassification},
    ],
    ids=["interleaved", "half", "partial", "without types", "other head"],
)
def test_llama_cpp_computes_our_vectors(save, export, runtime, config):
    """Catches channels in the wrong order, a key that llama.cpp reads otherwise, and a tensor that it has no place
    for."""
    folder = save(**SAME, **config)
    assert export("gguf", folder).out.startswith(f"wrote {folder / 'model.gguf'}; ")
    there = runtime(folder / "model.gguf")
    for text in TEXTS:
        given = torch.from_numpy(there.embed(text))
        torch.testing.assert_close(given, vector(folder, text), atol=there.tolerance, rtol=0)


def test_llama_cpp_reads_our_tokens(save, export, runtime):
    """Catches words and their continuations that change places, accents, and special tokens."""
    folder = save()
    export("gguf", folder)
    there, ours = runtime(folder / "model.gguf"), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert there.tokenize(text) == ours(text)["input_ids"]


def test_every_row_has_a_token(save, export):
    """Catches rows of the embedding that no text leads to, and special tokens that a text may contain."""
    folder = save()
    export("gguf", folder)
    there, ours = NumpyRuntime(folder / "model.gguf"), AutoTokenizer.from_pretrained(folder)
    assert len(there.rows) == 160 > len(ours)  # no two rows share a text
    kinds = there.metadata["tokenizer.ggml.token_type"]
    assert [kinds.count(kind) for kind in (1, 3, 5)] == [len(ours) - 5, 5, 160 - len(ours)]  # normal, control, unused


def test_gelu_by_the_tanh_formula_changes_little(save, export, runtime):
    """Catches an activation that is another one: only its rounding differs."""
    folder = save(std=0.1)
    export("gguf", folder)
    given = torch.from_numpy(runtime(folder / "model.gguf").embed(TEXTS[1]))
    torch.testing.assert_close(given, vector(folder, TEXTS[1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_a_classifier_is_pooled_as_it_was_trained(save, export, runtime, pooling):
    """Catches the mean of a model that put all into its first token."""
    folder = save(RoFormerForSequenceClassification, pooling=pooling, **SAME)
    assert export("gguf", folder).out.endswith(f"pooling {pooling}\n")
    there = runtime(folder / "model.gguf")
    given = torch.from_numpy(there.embed(TEXTS[1]))
    torch.testing.assert_close(given, vector(folder, TEXTS[1], pooling), atol=there.tolerance, rtol=0)


MISFITS = {
    "position=t5": {"name": "t5"},
    "position=rope_yarn": {"name": "rope_yarn"},
    "position.frequency_band=high": {"settings": {"frequency_band": "high"}},
    "norm_type=rms_norm": {"norm_type": "rms_norm"},
    "use_bias=False": {"use_bias": False},
    "hidden_act=relu": {"hidden_act": "relu"},
    "embedding_size=16": {"embedding_size": 16},
    "normalize_embedding=False": {"normalize_embedding": False},
    "scale_embedding=True": {"scale_embedding": True},
    "rotary_value=True": {"rotary_value": True},
    "local_attention=4": {"local_attention": 4},
    "attention_backend=linear": {"attention_backend": "linear"},
    "is_decoder=True": {"is_decoder": True, "model_class": RoFormerForCausalLM},
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_llama_cpp_does_not_have_is_named(save, export, misfit):
    """Catches a file that loads and computes something else."""
    folder = save(**MISFITS[misfit])
    with pytest.raises(SystemExit, match=rf"^error: {folder}: GGUF is written of .*; this one has {misfit}$"):
        export("gguf", folder)
    assert not list(folder.glob("*gguf*"))


def test_other_tokenizers_are_refused(export, save, tokenizer):
    """Catches a vocabulary that llama.cpp reads as WordPiece, whatever it is."""
    folder = save()
    BytePairTokenizer(vocab_size=300, max_characters=None).train(lambda: iter(CORPUS)).save_pretrained(folder)
    with pytest.raises(SystemExit, match=r"this one has a tokenizer of BPE, None, ByteLevel$"):
        export("gguf", folder)
    tokenizer.save_pretrained(folder)
    added = PreTrainedTokenizerFast.from_pretrained(folder)
    added.add_tokens(AddedToken("<url>"))
    added.save_pretrained(folder)
    with pytest.raises(SystemExit, match=r"this one has the added token '<url>'$"):
        export("gguf", folder)
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **tokenizer.special_tokens_map)
    bare.backend_tokenizer.post_processor = None
    bare.save_pretrained(folder)
    with pytest.raises(SystemExit, match=r"this one has texts without \[CLS\] and \[SEP\]$"):
        export("gguf", folder)
    RoFormerTokenizer(vocab=dict(tokenizer.get_vocab())).save_pretrained(folder)
    with pytest.raises(SystemExit, match=r"a tokenizer that splits words in Python \(RoFormerTokenizer\)$"):
        export("gguf", folder)


def test_an_export_may_hold_the_file(tmp_path):
    """Catches digests that call a run damaged once it has been exported."""
    with atomic_folder(tmp_path / "sealed") as draft:
        (draft / "config.json").write_text("{}")
    (tmp_path / "sealed/model.gguf").write_text("weights")
    assert damage(tmp_path / "sealed") is None


def test_a_missing_package_is_named(run, export, monkeypatch):
    """Catches an ImportError."""
    monkeypatch.setattr("roformer.extras.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"GGUF needs the package gguf: pip install 'roformer-lab\[gguf\]'$"):
        export("gguf", run)
