"""``python -m roformer.export onnx``: what it writes, where, and how it fails."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from roformer.export import onnx as writer
from roformer.io import atomic_folder, damage
from roformer.model import RoFormerForCausalLM, RoFormerForMaskedLM, RoFormerForSequenceClassification
from roformer.runs.folder import find_export
from tests.export.conftest import FINISHED

onnxruntime = pytest.importorskip("onnxruntime")


def save(model_class, folder, tiny_model, **config):
    """Exports a tiny model with the tokenizer of the finished run."""
    model = tiny_model(model_class=model_class, vocab_size=120, num_hidden_layers=1, **config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(FINISHED / "export").save_pretrained(folder)
    return model


def logits(file, inputs):
    session = onnxruntime.InferenceSession(file)
    assert {each.name for each in session.get_inputs()} == set(inputs)
    return session.run(["logits"], {name: np.asarray(each) for name, each in inputs.items()})[0]


@pytest.mark.slow
def test_a_run_gets_a_file_that_reads_what_its_tokenizer_gives(run, export):
    """Catches an input that the tokenizer gives and the file lacks, a fixed length, and an export that is taken for
    damaged afterwards."""
    printed = export("onnx", run)
    assert printed.out.startswith(f"wrote {run / 'export/model.onnx'}; its logits differ from PyTorch's by up to ")
    assert printed.err == ""
    found = find_export(str(run))
    tokenizer, model = AutoTokenizer.from_pretrained(found), RoFormerForMaskedLM.from_pretrained(found)
    texts = ["one", "one two three four five", "six seven"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.eval()(**inputs).logits
    torch.testing.assert_close(torch.from_numpy(logits(found / "model.onnx", inputs)), expected, atol=1e-5, rtol=1e-5)
    assert sorted(each.name for each in found.iterdir() if each.name.startswith(("model", ".onnx"))) == [
        "model.onnx",
        "model.safetensors",
    ]


@pytest.mark.slow
def test_a_classifier_may_be_written_elsewhere(tmp_path, export, tiny_model):
    """Catches a head that is dropped, a folder that has to exist, and an input that the model does not have."""
    model = save(RoFormerForSequenceClassification, tmp_path / "model", tiny_model, num_labels=3, type_vocab_size=0)
    export("onnx", tmp_path / "model", "--output", tmp_path / "new/other.onnx")
    inputs = {"input_ids": torch.arange(1, 25).view(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    given = torch.from_numpy(logits(tmp_path / "new/other.onnx", inputs))
    assert given.shape == (2, 3)
    with torch.no_grad():
        torch.testing.assert_close(given, model(**inputs).logits, atol=1e-5, rtol=1e-5)
    assert not (tmp_path / "model/model.onnx").exists()


def test_an_export_may_hold_the_file(tmp_path):
    """Catches digests that call a run damaged once it has been exported; any other new file still is an error."""
    with atomic_folder(tmp_path / "sealed") as draft:
        (draft / "config.json").write_text("{}")
    (tmp_path / "sealed/model.onnx").write_text("graph")
    assert damage(tmp_path / "sealed") is None
    (tmp_path / "sealed/other.bin").write_text("")
    assert "other.bin is not in" in damage(tmp_path / "sealed")


def test_other_heads_are_refused_in_one_line(tmp_path, export, tiny_model):
    """Catches a decoder that is written without its cache."""
    save(RoFormerForCausalLM, tmp_path, tiny_model, is_decoder=True)
    with pytest.raises(SystemExit, match=r"^error: .* holds a RoFormerForCausalLM; ONNX is written of .* only$"):
        export("onnx", tmp_path)


@pytest.mark.parametrize("form", ["onnx", "gguf"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", "--output", "FOLDER"), "is no file; give a file that does not exist"),
        (("RUN", "--output", "FOLDER/a.txt/model"), "a.txt/model cannot be written (Not a directory); choose another"),
        (("RUN", "--output", "/proc/new/model"), "--output=/proc/new/model cannot be written (No such file or"),
        (("RUN", "--outpt", "model"), "unrecognized arguments: --outpt model; --help lists the arguments"),
        ((), "the following arguments are required: PATH; --help lists the arguments"),
    ],
)
def test_mistakes_end_in_one_line_before_the_work(run, export, tmp_path, monkeypatch, form, arguments, message):
    """Catches a traceback after half a minute of tracing, usage in several lines, and an empty folder left there."""
    monkeypatch.setattr(writer, "_load", lambda *_: pytest.fail("the model was read"))
    (tmp_path / "a.txt").touch()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        export(form, *(each.replace("RUN", str(run)).replace("FOLDER", str(tmp_path)) for each in arguments))
    assert str(ended.value.code).startswith("error: ")
    assert message in str(ended.value.code)
    assert "\n" not in str(ended.value.code)
    assert set(tmp_path.rglob("*")) == before


def test_a_missing_package_is_named_first(run, export, monkeypatch):
    """Catches an ImportError after minutes of tracing."""
    monkeypatch.setattr("roformer.extras.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(SystemExit, match=r"needs the package onnxscript: pip install 'roformer-lab\[onnx\]'$"):
        export("onnx", run)


def test_no_file_is_left_that_differs(run, export, monkeypatch):
    """Catches a check that only prints."""
    monkeypatch.setattr(writer, "write_graph", lambda model, inputs, file: file.touch())
    monkeypatch.setattr(writer, "largest_difference", lambda *_: float("nan"))
    with pytest.raises(SystemExit, match=r"model.onnx would differ from PyTorch by nan .* not written$"):
        export("onnx", run)
    assert not list((run / "export").glob("*onnx*"))


def test_a_folder_without_a_model_is_refused(tmp_path, export):
    """Catches a message that names a setting of train.py."""
    with pytest.raises(SystemExit, match=rf"^error: {tmp_path} holds no run and no export; give the output folder"):
        export("onnx", tmp_path)
