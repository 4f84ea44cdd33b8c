"""RoFormerV2 of keras-hub: a preset of ``config.json`` and ``model.weights.h5``, without Keras.

It differs from the authors' model: its norms have weights, it has no dropout of attention, and its classifier is
RoBERTa's. It never sees tokens of number 0, which an ``attention_mask`` hides here.

Source: keras-hub 0.32, models/roformer_v2; ``task.weights.h5`` has the weights of a head.
Checked against: the outputs of keras-hub.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from roformer.errors import UserError, one_line
from roformer.extras import require
from roformer.model.interop._base import Checkpoint, Weights
from roformer.model.interop.roformer import POSITION, StockRoFormer

TASK = "task.json"
"""What a preset says of the head of its model; a body alone has none."""

_BACKBONE = "RoformerV2Backbone"
_BODY_WEIGHTS, _HEAD_WEIGHTS = "model.weights.h5", "task.weights.h5"
_CLASSIFIER = "ForSequenceClassification"
_HEADS = {"RoformerV2MaskedLM": "ForMaskedLM", "RoformerV2TextClassifier": _CLASSIFIER}
_ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "linear")  # the same functions in transformers
_FIXED = {"layer_norm_eps": 1e-7, "attention_probs_dropout_prob": 0.0}  # of every model of keras-hub
_SETTINGS = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_dim",
    "type_vocab_size": "num_segments",
    "hidden_dropout_prob": "dropout",
    "hidden_act": "activation",
    "max_wavelength": "max_wavelength",
}  # ours -> theirs
_RENAMED = (  # in this order
    (re.compile(r"^layers/roformer_v2_encoder/"), "encoder.layer.0."),
    (re.compile(r"^layers/roformer_v2_encoder_(\d+)/"), r"encoder.layer.\1."),
    (re.compile(r"^layers/reversible_embedding/"), "embeddings.word_embeddings/"),
    (re.compile(r"^layers/embedding/"), "embeddings.token_type_embeddings/"),
    (re.compile(r"^layers/roformer_norm/"), "embeddings.LayerNorm/"),
    (re.compile(r"^layers/dense/"), "classifier.dense/"),
    (re.compile(r"^layers/dense_1/"), "classifier.out_proj/"),
    (re.compile(r"^layers/"), "embeddings."),  # what no RoFormerV2 has
    (re.compile(r"\.attention_layer/q_dense/"), ".attention.self.query/"),
    (re.compile(r"\.attention_layer/k_dense/"), ".attention.self.key/"),
    (re.compile(r"\.attention_layer/v_dense/"), ".attention.self.value/"),
    (re.compile(r"\.attention_layer/o_dense/"), ".attention.output.dense/"),
    (re.compile(r"\.attention_norm/"), ".attention.output.LayerNorm/"),
    (re.compile(r"\.feedforward_intermediate_dense/"), ".intermediate.dense/"),
    (re.compile(r"\.feedforward_output_dense/"), ".output.dense/"),
    (re.compile(r"\.feedforward_norm/"), ".output.LayerNorm/"),
    (re.compile(r"/vars/0$"), ".weight"),
    (re.compile(r"/vars/1$"), ".bias"),
)


class KerasHubRoFormerV2(StockRoFormer):
    """RoFormerV2 as keras-hub has it."""

    name = "RoFormerV2 of keras-hub"

    @classmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        return stored.get("model_type") == _BACKBONE

    @classmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        position = {**POSITION, "rope_theta": config.max_wavelength}
        return {
            **super().own_settings(config),
            "position": position,
            "norm_type": "scaled_rms_norm",
            "use_bias": False,
        }

    @classmethod
    def own_head_settings(cls, config: PretrainedConfig, head: str) -> dict[str, Any]:
        return {"pooling": "cls", "classifier_activation": "tanh"} if head == _CLASSIFIER else {}


def is_preset(stored: dict[str, Any]) -> bool:
    """Returns whether a ``config.json`` is one of keras-hub."""
    return "registered_name" in stored


def open_checkpoint(folder: Path, stored: dict[str, Any], task: dict[str, Any]) -> Checkpoint:
    """Returns the checkpoint in the folder of a preset, with transformers' names, its weights still unread.

    Args:
        folder: of the preset.
        stored: the content of its ``config.json``.
        task: the content of its ``task.json``; empty without one.

    Raises:
        UserError: if it is another model, or one that this package does not have.
    """
    file = folder / "config.json"
    if stored.get("class_name") != _BACKBONE:
        raise UserError(
            f"{file} is of keras-hub's {stored.get('class_name')}; of its presets only {_BACKBONE} is read: give "
            "that model's files for transformers"
        )
    head = _HEADS.get(str(task.get("class_name")), "Model")
    known = {"model_type": _BACKBONE, "architectures": [head], **_FIXED}
    try:
        settings = stored["config"]
        known |= {ours: settings[theirs] for ours, theirs in _SETTINGS.items()}
        if head == _CLASSIFIER:
            known["num_labels"] = task["config"]["num_classes"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}, or {TASK} next to it, has no {one_line(error)}; copy them anew") from error
    if settings.get("use_bias"):
        raise UserError(f"{file} has use_bias=true, which no model here has with norms without biases; give another")
    if settings["activation"] not in _ACTIVATIONS:
        raise UserError(f"{file} has activation={settings['activation']}; known are {', '.join(_ACTIVATIONS)}")

    def read() -> Weights:
        return _read(folder / _BODY_WEIGHTS) | (_read(folder / _HEAD_WEIGHTS) if head == _CLASSIFIER else {})

    return Checkpoint(str(folder), known, read)


def _read(file: Path) -> Weights:
    """Returns the weights in a file of Keras, by transformers' names."""
    require("h5py", str(file))
    import h5py

    if not file.is_file():
        raise UserError(
            f"no weights at {file}; copy them there, in one file (save_to_preset with max_shard_size=None)"
        )
    found: Weights = {}

    def add(path: str, item: Any) -> None:
        if path.startswith("layers/") and isinstance(item, h5py.Dataset):
            found[_rename(path)] = _tensor(path, item)

    try:
        with h5py.File(file) as opened:
            opened.visititems(add)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # whatever HDF5 reports
        raise UserError(f"cannot read the weights in {file} ({one_line(error)}); copy it anew") from error
    return found


def _tensor(path: str, item: Any) -> Tensor:
    """Returns the numbers of a variable; kernels with the order of torch."""
    stored = item[...]
    brain = item.attrs.get("dtype") == "bfloat16"  # NumPy has no such type
    tensor = torch.from_numpy(stored.view("int16")).view(torch.bfloat16) if brain else torch.from_numpy(stored)
    return tensor.T if tensor.dim() == 2 and "dense" in path else tensor


def _rename(path: str) -> str:
    for pattern, replacement in _RENAMED:
        path = pattern.sub(replacement, path)
    return path
