"""What int8 costs and saves: loss, size on disk, and CPU time of an export in PyTorch and in ONNX Runtime.

python -m benchmarks.quantization outputs/mlm-docs-rope-seed1
python -m benchmarks.quantization outputs/imdb --data data=labeled data.path=reviews.csv    # a classifier's accuracy

int8 is dynamic: weights are rounded once, and activations where they occur, by torchao and by ONNX Runtime's
``quantize_dynamic``. All read the same documents of the test split. They take turns in one process, with one thread; a
figure is the median over rounds of the CPU time for 1,000 real tokens, and the ratio that of two turns in one round.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.run import MASKED, positive
from benchmarks.tables import WIDTH
from roformer.cli.command import silence_libraries
from roformer.cli.errors import one_line_errors
from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.errors import UserError
from roformer.export.onnx import export_onnx
from roformer.extras import require
from roformer.io import write_json
from roformer.model import RoFormerForMaskedLM, RoFormerForSequenceClassification, RoFormerLabConfig
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.runs.folder import find_export
from roformer.runs.provenance import provenance

Batch = dict[str, Tensor]
Logits = Callable[[Batch], Tensor]
PLAIN = "PyTorch, float32"
_HEADS = {each.__name__: each for each in (RoFormerForMaskedLM, RoFormerForSequenceClassification)}
_ROWS = 16  # documents of a batch


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantization", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("path", help="the folder of a finished run, or an export")
    parser.add_argument("--data", nargs="+", default=["data=docs"], metavar="SETTING", help="as for train.py")
    parser.add_argument("--documents", type=positive, default=256)
    parser.add_argument("--length", type=positive, default=128, help="tokens of a document, at most")
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args()
    require("torchao", "this benchmark")
    silence_libraries()
    torch.set_num_threads(1)
    export = find_export(arguments.path)
    model, tokenizer = load(export), AutoTokenizer.from_pretrained(export)
    batches = read(model, tokenizer, arguments.data, arguments.documents, arguments.length)
    with tempfile.TemporaryDirectory() as folder:
        everyone, sizes = contestants(model, export, Path(folder))
    scores = {name: score(logits, batches) for name, logits in everyone.items()}
    seconds = take_turns(everyone, batches, arguments.rounds)
    report = {
        "schema_version": 1,
        **provenance(),
        "arguments": {"rounds": arguments.rounds, "length": arguments.length},
        "metric": "MLM loss" if isinstance(model, RoFormerForMaskedLM) else "accuracy",
        "tokens": sum(int(batch["attention_mask"].sum()) for batch in batches),
        "quantization": {
            name: {"score": scores[name], "bytes": sizes[name], "seconds": seconds[name]} for name in everyone
        },
    }
    if arguments.output:
        write_json(arguments.output, report)
    shown = Table(*columns(report), title=f"{report['tokens']:,} tokens")
    for row in table_rows(report):
        shown.add_row(*row)
    Console(width=WIDTH).print(shown)


def load(export: Path) -> PreTrainedModel:
    """Returns the model of an export in float32.

    Raises:
        UserError: if it has another head.
    """
    (name,) = RoFormerLabConfig.from_pretrained(export).architectures or [None]
    if name not in _HEADS:
        raise UserError(f"{export} holds a {name}; this measures {' and '.join(_HEADS)}")
    return _HEADS[name].from_pretrained(export, dtype=torch.float32).eval()


def read(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: list[str], documents: int, length: int
) -> list[Batch]:
    """Returns padded batches of documents of the test split, with labels: their class, or the tokens that are masked.

    Raises:
        UserError: if there is no test split.
    """
    corpus = Corpus.from_settings(TrainConfig.compose(*settings, "tracker=none").data)
    held_out = [doc for split, doc in split_documents(corpus.source, **corpus.fractions) if split == "test"]
    if not held_out:
        raise UserError("the data have no test split; set data.test_fraction")
    chosen = held_out[:: max(1, len(held_out) // documents)][:documents]  # from all over a large corpus
    rng, batches = np.random.default_rng(0), []
    for start in range(0, len(chosen), _ROWS):
        rows = chosen[start : start + _ROWS]
        batch = dict(
            tokenizer(
                [row.text for row in rows], truncation=True, max_length=length, padding=True, return_tensors="pt"
            )
        )
        if isinstance(model, RoFormerForMaskedLM):
            is_text = ~torch.isin(batch["input_ids"], torch.tensor(tokenizer.all_special_ids))
            predicted = is_text & torch.from_numpy(rng.random(is_text.shape) < MASKED)
            batch["labels"] = batch["input_ids"].masked_fill(~predicted, IGNORE_INDEX)
            batch["input_ids"] = batch["input_ids"].masked_fill(predicted, tokenizer.mask_token_id)
        else:
            batch["labels"] = torch.tensor([model.config.label2id[row.label] for row in rows])
        batches.append(batch)
    return batches


def contestants(model: PreTrainedModel, export: Path, folder: Path) -> tuple[dict[str, Logits], dict[str, int]]:
    """Returns what computes the logits of a batch, and the bytes of each one's file."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # optional

    rounded = copy.deepcopy(model)
    quantize_(rounded, Int8DynamicActivationInt8WeightConfig())
    export_onnx(export, folder / "float32.onnx")
    quantize_dynamic(folder / "float32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)
    models = {PLAIN: model, "PyTorch, bfloat16": copy.deepcopy(model).bfloat16(), "PyTorch, int8 (torchao)": rounded}
    everyone, sizes = {}, {}
    for name, each in models.items():
        torch.save(each.state_dict(), folder / "weights.pt")
        everyone[name], sizes[name] = in_torch(each), (folder / "weights.pt").stat().st_size
    for precision in ("float32", "int8"):
        name, file = f"ONNX Runtime, {precision}", folder / f"{precision}.onnx"
        everyone[name], sizes[name] = in_onnx(file), file.stat().st_size
    return everyone, sizes


def in_torch(model: PreTrainedModel) -> Logits:
    def logits(batch: Batch) -> Tensor:
        with torch.inference_mode():
            return model(**{name: each for name, each in batch.items() if name != "labels"}).logits

    return logits


def in_onnx(file: Path) -> Logits:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def logits(batch: Batch) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {name: batch[name].numpy() for name in names})[0])

    return logits


def score(logits: Logits, batches: list[Batch]) -> float:
    """Returns the loss in nats per masked token, or the share of documents whose class is right."""
    total = count = 0.0
    for batch in batches:
        labels, given = batch["labels"], logits(batch).float()
        if given.dim() == 3:
            total += float(F.cross_entropy(given.transpose(1, 2), labels, ignore_index=IGNORE_INDEX, reduction="sum"))
            count += float((labels != IGNORE_INDEX).sum())
        else:
            total += float((given.argmax(-1) == labels).sum())
            count += len(labels)
    return total / count


def take_turns(everyone: dict[str, Logits], batches: list[Batch], rounds: int) -> dict[str, list[float]]:
    """Returns the CPU seconds of each round, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(rounds + 1):
        for name, logits in everyone.items():
            start = time.process_time()
            for batch in batches:
                logits(batch)
            seconds[name].append(time.process_time() - start)
    return {name: each[1:] for name, each in seconds.items()}


def columns(report: dict[str, Any]) -> list[str]:
    return ["", report["metric"], "change", "MB on disk", "CPU ms per 1,000 tokens", "over float32"]


def table_rows(report: dict[str, Any]) -> list[list[str]]:
    """Returns a row for each contestant; the ratio is the median over rounds."""
    plain, rows = report["quantization"][PLAIN], []
    for name, result in report["quantization"].items():
        time_of = 1e6 * statistics.median(result["seconds"]) / report["tokens"]
        ratio = statistics.median(a / b for a, b in zip(result["seconds"], plain["seconds"], strict=True))
        rows.append([
            name, f"{result['score']:.4f}", f"{result['score'] - plain['score']:+.4f}", f"{result['bytes'] / 1e6:.2f}",
            f"{time_of:.1f}", f"{ratio:.2f}",
        ])  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
