"""Where checkpoints lie: in a folder, on the hub, or in memory."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from roformer.errors import UserError, one_line
from roformer.hub import download, is_hub_name
from roformer.model.interop import keras_hub, tensorflow
from roformer.model.interop._base import Checkpoint, Weights

_PATTERNS = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})")  # model-00001-of-00003


def open_checkpoint(source: str | Path | PreTrainedModel) -> Checkpoint:
    """Returns a checkpoint of transformers, TensorFlow or keras-hub, its weights still unread.

    Args:
        source: a folder, a name on the hub (``owner/name@revision``), or a model in memory.

    Raises:
        UserError: if there is none.
    """
    if isinstance(source, PreTrainedModel):
        stored = {**source.config.to_dict(), "architectures": [type(source).__name__]}
        return Checkpoint(type(source).__name__, stored, source.state_dict)
    folder = Path(source).expanduser()
    if not folder.is_dir() and is_hub_name(str(source)):
        folder = download(str(source))
    if tensorflow.is_checkpoint(folder):
        return tensorflow.open_checkpoint(folder, read_json(folder / tensorflow.CONFIG))
    if not (folder / "config.json").is_file():
        raise UserError(
            f"no model at '{source}': it has no config.json and no bert_config.json; give a folder of transformers, "
            "keras-hub or TensorFlow, or a name on the hub"
        )
    stored = read_json(folder / "config.json")
    if keras_hub.is_preset(stored):
        task = folder / keras_hub.TASK
        return keras_hub.open_checkpoint(folder, stored, read_json(task) if task.is_file() else {})
    files = _weight_files(folder)  # now: the weights are read once the corpus has been tokenized
    return Checkpoint(str(source), stored, lambda: _read_weights(files))


def read_json(file: Path) -> dict[str, Any]:
    """Returns the settings in a file.

    Raises:
        UserError: if it holds something else.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}); export the checkpoint anew") from error
    if not isinstance(stored, dict):
        raise UserError(
            f"{file} holds a {type(stored).__name__}, not the settings of a model; export the checkpoint anew"
        )
    return stored


def _weight_files(folder: Path) -> list[Path]:
    """Returns the file of the weights or all shards; safetensors where the folder has both kinds."""
    files = next((found for pattern in _PATTERNS if (found := sorted(folder.glob(pattern)))), [])
    if not files:
        raise UserError(f"no weights in '{folder}': none of {', '.join(_PATTERNS)}; copy them there")
    if shard := _SHARD.fullmatch(files[0].stem):
        names = {f"{shard[1]}-{number:05}-of-{shard[2]}" for number in range(1, int(shard[2]) + 1)}
        if absent := sorted(names - {file.stem for file in files}):
            raise UserError(f"'{folder}' lacks shards of its weights: {', '.join(absent)}; copy them there")
    return files


def _read_weights(files: list[Path]) -> Weights:
    weights: Weights = {}
    for file in files:
        try:
            safe = file.suffix == ".safetensors"
            weights |= load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
            raise UserError(f"cannot read the weights in {file} ({one_line(error)}); copy it anew") from error
    return weights
