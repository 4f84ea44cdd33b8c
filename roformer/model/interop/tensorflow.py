"""The authors' own checkpoints: ``bert_config.json``, ``bert_model.ckpt.*`` and ``vocab.txt``, without TensorFlow.

They do not say what they are: a table of positions makes a BERT, none a RoFormer, and no norms with weights a
RoFormerV2. The names are those of Google's BERT, which bert4keras writes as well.

Source: google-research/bert; bert4keras 0.11.5, ``variable_mapping``.
"""

import re
from pathlib import Path
from typing import Any

from roformer.errors import UserError
from roformer.model.interop._base import Checkpoint, Weights
from roformer.model.interop.tensor_bundle import read_index, read_tensors

CONFIG = "bert_config.json"
"""The settings of a model of Google's BERT or of bert4keras."""

_POSITIONS = "bert/embeddings/position_embeddings"
_RENAMED = (  # in this order
    (re.compile(r"^bert/encoder/embedding_hidden_mapping_in/"), "embeddings_project/"),
    (re.compile(r"^bert/"), ""),
    (re.compile(r"/layer_(\d+)/"), r"/layer/\1/"),
    (re.compile(r"/(kernel|gamma|output_weights)$"), "/weight"),
    (re.compile(r"/(beta|output_bias)$"), "/bias"),
    (re.compile(r"_embeddings$"), "_embeddings/weight"),
    (re.compile(r"/"), "."),
)


def is_checkpoint(folder: Path) -> bool:
    """Returns whether a folder holds a checkpoint of TensorFlow, and none of transformers."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def open_checkpoint(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """Returns the checkpoint in a folder, with what its variables say of its kind.

    Args:
        folder: what ``is_checkpoint`` found to be one.
        config: the content of its ``bert_config.json``.

    Raises:
        UserError: if the folder has no index of variables, several of them, or other variables than BERT's.
    """
    indices = sorted(folder.glob("*.ckpt*.index"))
    if len(indices) != 1:
        raise UserError(f"'{folder}' has {len(indices)} files *.ckpt*.index; leave the one that is to be read there")
    entries = {name: entry for name, entry in read_index(indices[0]).items() if _is_weight(name)}
    if not entries:
        raise UserError(f"{indices[0]} has no variables bert/...; only the names of Google's BERT are known")
    normed = any("/LayerNorm/" in name for name in entries)
    kind = {"model_type": "bert" if _POSITIONS in entries else "roformer", "architectures": ["ForPreTraining"]}
    v2 = {} if normed else {"norm_type": "rms_norm", "use_bias": False}

    def read() -> Weights:
        tensors = read_tensors(indices[0], entries)
        return {_rename(name): tensors[name].T if name.endswith("/kernel") else tensors[name] for name in tensors}

    return Checkpoint(str(folder), {**config, **kind, **v2}, read)


def _is_weight(name: str) -> bool:
    """Returns whether a variable is one of the model, and none of its optimizer."""
    return name.startswith(("bert/", "cls/")) and not re.search(r"/adam_[mv]$|/Adam(_1)?$", name)


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
