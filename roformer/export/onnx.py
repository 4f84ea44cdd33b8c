"""ONNX: one file that ONNX Runtime runs without PyTorch, for batches of any size and texts of any length."""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim
from transformers import AutoTokenizer, PreTrainedModel

from roformer.errors import UserError
from roformer.extras import require
from roformer.model import RoFormerForMaskedLM, RoFormerForSequenceClassification, RoFormerForTokenClassification

FILE = "model.onnx"
_MODELS = (RoFormerForMaskedLM, RoFormerForSequenceClassification, RoFormerForTokenClassification)
_HEADS = {each.__name__: each for each in _MODELS}
_SHAPES = ((2, 8), (3, 13), (1, 1))  # of probe batches: the first is traced
_TOLERANCE = 1e-3  # relative to the largest logit; kernels round float32 differently, by far less


def export_onnx(export: Path, file: Path) -> float:
    """Writes the model of an export as ONNX, once its logits have been compared with PyTorch's.

    Its inputs are those of the exported tokenizer, its output is ``logits``; batch and length are free.

    Args:
        export: what ``from_pretrained`` reads.
        file: where to write; a model above 2 GB gets a second file next to it, with the weights.

    Returns:
        the largest difference of any logit on probe batches, relative to the largest logit.

    Raises:
        UserError: if a package is missing, the model has another head, or the logits differ.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "ONNX")
    model = _load(export)
    names = [name for name in AutoTokenizer.from_pretrained(export).model_input_names if _has_input(model, name)]
    batches = [_probe(model, names, *shape) for shape in _SHAPES]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".onnx-") as draft:
        write_graph(model, batches[0], Path(draft, file.name))
        difference = max(largest_difference(model, batch, Path(draft, file.name)) for batch in batches)
        if not difference <= _TOLERANCE:  # nan, too
            raise UserError(f"{file} would differ from PyTorch by {difference:.1e} of the largest logit; not written")
        for each in Path(draft).iterdir():
            os.replace(each, file.parent / each.name)
    return difference


def write_graph(model: PreTrainedModel, inputs: dict[str, Tensor], file: Path) -> None:
    """Writes a model in evaluation mode, traced on (B, L) inputs, B and L at least 2."""
    shape = {0: Dim("batch"), 1: Dim("length")}
    with _quiet():
        program = torch.onnx.export(
            model,
            kwargs=inputs,
            dynamic_shapes=dict.fromkeys(inputs, shape),
            input_names=list(inputs),
            output_names=["logits"],
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(file)


def largest_difference(model: PreTrainedModel, inputs: dict[str, Tensor], file: Path) -> float:
    """Returns the largest difference between ONNX Runtime's and PyTorch's logits, relative to the largest logit."""
    import onnxruntime  # optional

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (given,) = session.run(["logits"], {name: each.numpy() for name, each in inputs.items()})
    with torch.no_grad():
        expected = model(**inputs).logits
    return float((torch.from_numpy(given) - expected).abs().max() / expected.abs().max().clamp(min=1))


def _load(export: Path) -> PreTrainedModel:
    (name,) = json.loads((export / "config.json").read_text(encoding="utf-8")).get("architectures") or [None]
    if name not in _HEADS:
        raise UserError(f"{export} holds a {name}; ONNX is written of {', '.join(_HEADS)} only")
    return _HEADS[name].from_pretrained(export).eval()


def _has_input(model: PreTrainedModel, name: str) -> bool:
    return name in ("input_ids", "attention_mask") or (name == "token_type_ids" and model.config.type_vocab_size > 0)


def _probe(model: PreTrainedModel, names: list[str], batch: int, length: int) -> dict[str, Tensor]:
    """Returns random tokens, with padding in the first of several rows."""
    generator = torch.Generator().manual_seed(length)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[: batch - 1, length // 2 + 1 :] = 0
    inputs = {
        "input_ids": torch.randint(model.config.vocab_size, (batch, length), generator=generator),
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(mask),
    }
    return {name: inputs[name] for name in names}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of PyTorch and onnxscript on their own deprecated functions."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
