"""torchao and ONNX Runtime: dynamic int8, as ``python -m benchmarks.quantization`` measures it."""

import json
import sys

import pytest

from benchmarks import quantization, report


@pytest.mark.parametrize("export", ["mlm", "classifier"])
def test_int8_is_smaller_and_hardly_worse(export, request, tmp_path, monkeypatch, capsys):
    """Catches weights that stay float32, a contestant that computes something else, and a table of another unit."""
    folder, file = request.getfixturevalue(export), tmp_path / "quantization.json"
    files = [tmp_path / f"{split}.csv" for split in ("train", "test")]
    label = {"mlm": ["0"], "classifier": list(quantization.load(folder).config.label2id)}[export]
    rows = [f"the badger {number} sleeps under the oak,{label[number % len(label)]}" for number in range(20)]
    for each in files:
        each.write_text("\n".join(["text,label", *rows]))
    paths = f"data.path=[{','.join(map(str, files))}]"
    arguments = [str(folder), "--data", "data=labeled", paths, "--rounds", "1", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["quantization", *arguments])
    quantization.main()
    measured = json.loads(file.read_text())["quantization"]
    assert all(abs(each["score"] - measured[quantization.PLAIN]["score"]) < 0.1 for each in measured.values())
    for runtime in ("PyTorch", "ONNX Runtime"):
        small, plain = (
            next(each["bytes"] for name, each in measured.items() if name.startswith(f"{runtime}, {precision}"))
            for precision in ("int8", "float32")
        )
        assert small < plain
    score = f"{measured['ONNX Runtime, int8']['score']:.4f}"
    assert score in capsys.readouterr().out
    assert score in report.block(report.read(file))
