"""The files with which sentence-transformers makes one vector of a text from an export.

Names and keys are those of its versions 2 to 5, which version 6 reads as well.
"""

import json
from pathlib import Path

from roformer.model import RoFormerForSequenceClassification, RoFormerLabConfig
from roformer.tasks import Task

_POOLING = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken"}
_FOLDER = "1_Pooling"


def write_sentence_embedding(folder: Path, task: Task, config: RoFormerLabConfig) -> None:
    """Writes which tokens make the vector: those that the head of the task reads, or all where it reads each.

    Args:
        folder: of the export; an encoder-decoder gets no files, since no Auto class loads its encoder alone.
        task: that the model was trained on.
        config: of the model.
    """
    if config.is_encoder_decoder:
        return
    pooling = config.pooling if issubclass(task.model_class, RoFormerForSequenceClassification) else "mean"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": _FOLDER, "type": "sentence_transformers.models.Pooling"},
    ]
    settings = {
        "word_embedding_dimension": config.hidden_size,
        **{key: name == pooling for name, key in _POOLING.items()},
    }
    (folder / _FOLDER).mkdir()
    for file, content in (("modules.json", modules), (f"{_FOLDER}/config.json", settings)):
        (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
