"""The code that a saved model carries: it computes the same, alone, and never runs where the package is there."""

import ast
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AttentionInterface, AutoConfig, AutoModelForMaskedLM, dynamic_module_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from roformer.attention import ATTENTION_BACKENDS
from roformer.attention.sdpa import SdpaAttention
from roformer.model import RoFormerForConditionalGeneration, RoFormerForMaskedLM
from roformer.model.auto_classes import AUTO_CLASSES
from roformer.model.portable_code import FILE
from roformer.position import POSITION_ENCODINGS
from roformer.position.alibi import AlibiPositionEncoding
from tests.choices import LINEAR, POSITION, each_encoding
from tests.tiny_models import build_tiny_model

TOKENS = torch.arange(1, 13)[None]
PLANTED = "import pathlib; pathlib.Path({marker!r}).touch()\n"


@pytest.fixture
def model_of_the_code(tmp_path, monkeypatch):
    """The function that saves a model and loads it again with the code next to it, in this process."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # transformers adds the folder

    def reload(model, **more):
        folder = tmp_path / f"saved-{len(list(tmp_path.iterdir()))}"
        model.save_pretrained(folder)
        reference = f"{Path(FILE).stem}.{type(model).__name__}"
        copied = dynamic_module_utils.get_class_from_dynamic_module(reference, str(folder))
        assert copied.__module__.startswith("transformers_modules.")
        return copied.from_pretrained(folder, **more).eval()

    return reload


@each_encoding
def test_the_copy_computes_the_same(encoding, model_of_the_code, tiny_model):
    """Catches a module that an encoding needs and the file lacks, and a table that another one overwrites."""
    model = tiny_model(encoding)
    assert torch.equal(model_of_the_code(model)(TOKENS).logits, model(TOKENS).logits)


@pytest.mark.parametrize("backend", LINEAR)
def test_the_copy_has_the_attention_of_the_model(backend, model_of_the_code, tiny_model):
    """Catches a file with softmax attention only."""
    model = tiny_model("rope", attention_backend=backend)
    assert torch.equal(model_of_the_code(model)(TOKENS).logits, model(TOKENS).logits)


def test_the_copy_has_the_windows_of_the_model(model_of_the_code, tiny_model):
    """Catches a file without the blocks that windows need."""
    model, tokens = tiny_model(local_attention=2, global_attn_every_n_layers=2), torch.arange(300)[None] % 60
    assert torch.equal(model_of_the_code(model)(tokens).logits, model(tokens).logits)
    assert not torch.equal(tiny_model()(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize("implementation", ["eager", "sdpa", "own"])
def test_the_copy_takes_what_transformers_calls_attention(implementation, model_of_the_code, tiny_model):
    """Catches a backend that only the package has."""
    AttentionInterface.register("own", ALL_ATTENTION_FUNCTIONS["sdpa"])
    model = tiny_model("rope", attention_backend="sdpa")
    copied = model_of_the_code(model, attn_implementation=implementation)
    torch.testing.assert_close(copied(TOKENS).logits, model(TOKENS).logits, rtol=0, atol=1e-4)


def test_two_copies_in_one_process_do_not_mix(model_of_the_code, tiny_model):
    """Catches a copy that registers itself, so that the next model gets its encodings."""
    rope, alibi = tiny_model("rope"), tiny_model("alibi")
    copies = [model_of_the_code(model) for model in (rope, alibi, rope)]
    for copied, model in zip(copies, (rope, alibi, rope), strict=True):
        assert torch.equal(copied(TOKENS).logits, model(TOKENS).logits)
    assert AutoConfig.for_model("roformer_lab").__class__.__module__.startswith("roformer.")


def test_the_file_is_small_and_imports_no_part_of_the_package(tiny_model, tmp_path):
    """Catches a statement inside a function that imports the package, and the package's own registration."""
    for encoding in POSITION:
        tiny_model(encoding).config.save_pretrained(tmp_path)
        code = (tmp_path / FILE).read_text()
        assert len(code) < 200_000
        nodes = list(ast.walk(ast.parse(code)))
        modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert not [module for module in modules if module.split(".")[0] == "roformer"]
        assert "package only" not in code
        assert "AutoConfig.register" not in code
        compile(code, FILE, "exec")


def test_the_package_comes_before_the_copy(tiny_model, tmp_path, caplog):
    """Catches code of a folder that runs, or a warning, though the package is imported."""
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / FILE).write_text(PLANTED.format(marker=str(tmp_path / "marker")))
    transformers.logging.get_logger("transformers").addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            for trust in (True, False, None):
                loaded = AutoModelForMaskedLM.from_pretrained(tmp_path, trust_remote_code=trust)
                assert type(loaded) is RoFormerForMaskedLM
    finally:
        transformers.logging.get_logger("transformers").removeHandler(caplog.handler)
    assert not (tmp_path / "marker").exists()
    assert not caplog.records


@pytest.mark.parametrize("part", ["position", "attention"])
def test_choices_of_another_package_have_no_copy(part, tmp_path, monkeypatch):
    """Catches a folder that promises code without the user's own class, and one that keeps the promise of before."""
    monkeypatch.setattr(POSITION_ENCODINGS, "_classes", {**POSITION_ENCODINGS._classes})
    monkeypatch.setattr(ATTENTION_BACKENDS, "_classes", {**ATTENTION_BACKENDS._classes})
    base, registry = {
        "position": (AlibiPositionEncoding, POSITION_ENCODINGS),
        "attention": (SdpaAttention, ATTENTION_BACKENDS),
    }[part]
    registry.register("own")(type("Own", (base,), {"__module__": "somebody"}))
    model = build_tiny_model("own" if part == "position" else "rope")
    model.config.auto_map = {"AutoModel": "other.Model"}
    if part == "attention":
        model.config.attention_backend = "own"
    model.save_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    assert not (tmp_path / FILE).exists()


ALONE = """
import importlib.util, json, sys
sys.path[:0] = json.loads(sys.argv[1])
assert importlib.util.find_spec("roformer") is None
import torch, transformers
for folder, names in json.loads(sys.argv[2]).items():
    for name in names:
        model = getattr(transformers, name).from_pretrained(folder, trust_remote_code=True).eval()
        model.save_pretrained(folder + "-again")
        getattr(transformers, name).from_pretrained(folder + "-again", trust_remote_code=True)
        print(name, type(model).__name__)
        if name == "AutoModelForCausalLM":
            print(model.generate(torch.arange(1, 5)[None], max_new_tokens=3, do_sample=False).tolist())
"""


@pytest.mark.slow
def test_every_auto_class_loads_it_without_the_package(tmp_path):
    """Catches an import of the package, an Auto class that the file does not serve, and a copy that cannot be saved
    with its code."""
    kinds = {
        "encoder": (build_tiny_model("rope"), set(AUTO_CLASSES) - {"AutoModelForCausalLM", "AutoModelForSeq2SeqLM"}),
        "decoder": (build_tiny_model("rope_yarn", is_decoder=True), {"AutoModelForCausalLM"}),
        "both": (
            build_tiny_model(
                "alibi", model_class=RoFormerForConditionalGeneration, is_encoder_decoder=True,
                decoder_start_token_id=1,
            ),
            {"AutoModelForSeq2SeqLM"},
        ),
    }  # fmt: skip
    for name, (model, _) in kinds.items():
        model.save_pretrained(tmp_path / name)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    folders = {str(tmp_path / name): sorted(names) for name, (_, names) in kinds.items()}
    done = subprocess.run(
        # without -S the editable installation of the package would be found
        [sys.executable, "-I", "-S", "-c", ALONE, *map(json.dumps, (packages, folders))],
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tokens = kinds["decoder"][0].generate(torch.arange(1, 5)[None], max_new_tokens=3, do_sample=False).tolist()
    assert set(done.stdout.splitlines()) == {*(" ".join(pair) for pair in AUTO_CLASSES.items()), str(tokens)}
