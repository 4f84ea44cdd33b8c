"""From a configuration to the objects it describes: corpus, tokenizer, task and model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from roformer.config import Settings, TrainConfig
from roformer.data import SOURCES, Source
from roformer.data.preprocess import TokenizedCorpus, tokenize_corpus
from roformer.errors import UserError
from roformer.model import RoFormerConfig, RoFormerForMaskedLM, RoFormerPreTrainedModel
from roformer.position import POSITION_ENCODINGS
from roformer.tasks import TASKS, Task
from roformer.tokenizer import TOKENIZERS

# What fine-tuning may change of a checkpoint's model; the rest is in the shape of its weights.
_FREE_MODEL_SETTINGS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class Corpus:
    """A source and the shares of it that are held out."""

    source: Source
    fractions: dict[str, float]

    @classmethod
    def from_settings(cls, data: Settings) -> "Corpus":
        fractions = {key: data[key] for key in ("validation_fraction", "test_fraction")}
        return cls(SOURCES.build({key: value for key, value in data.items() if key not in fractions}), fractions)


def checkpoint_folder(init_from: str) -> Path:
    """Returns the export that ``init_from`` means: the folder itself, or that of a finished run.

    Raises:
        UserError: if there is none.
    """
    folder = Path(init_from)
    for candidate in (folder / "export", folder):
        if (candidate / "config.json").is_file():
            return candidate
    unfinished = (folder / "config.yaml").is_file()
    reason = "is a run that has not finished (run its command again)" if unfinished else "holds no config.json"
    raise UserError(f"init_from={init_from} {reason}; give the output folder of a finished run, or an export")


def resolve_checkpoint(config: TrainConfig, overridden: frozenset[str]) -> TrainConfig:
    """Puts the model, positions and tokenizer of ``init_from``, which its weights fix, in place of the configured.

    Args:
        config: as composed.
        overridden: the config groups that the user chose on the command line.

    Raises:
        UserError: if the user asked for another position encoding than the checkpoint has.
    """
    if config.init_from is None:
        return config
    folder = checkpoint_folder(config.init_from)
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    position = stored.get("position") or {"name": "rope"}
    if "position" in overridden and config.position["name"] != position["name"]:
        raise UserError(
            f"position={config.position['name']} does not fit init_from={config.init_from}, which was trained with "
            f"{position['name']}; leave position out"
        )
    model = {key: stored[key] for key in config.model if key in stored and key not in _FREE_MODEL_SETTINGS}
    tokenizer = config.tokenizer if "tokenizer" in overridden else {"name": "pretrained", "path": str(folder)}
    return replace(config, model={**config.model, **model}, position=position, tokenizer=tokenizer)


def check_settings(config: TrainConfig) -> None:
    """Raises ``UserError`` for settings that cannot work, before any of the work; costs nothing."""
    TASKS.check(config.task)
    TOKENIZERS.check(config.tokenizer)
    shape = RoFormerConfig(**config.model, position=config.position, attention_backend=config.attention["name"]).shape
    position = POSITION_ENCODINGS.build(config.position, shape)
    for key in ("sequence_length", "max_length"):
        if position.max_length is not None and config.task.get(key, 0) > position.max_length:
            raise UserError(
                f"task.{key}={config.task[key]} is longer than the table of {config.position['name']} positions, "
                f"model.max_position_embeddings={position.max_length}; lower the one or raise the other"
            )


def build_corpus(config: TrainConfig) -> tuple[Corpus, TokenizedCorpus, PreTrainedTokenizerFast]:
    """Prepares tokenizer and tokens, from the caches where they hold them."""
    corpus = Corpus.from_settings(config.data)
    cache_dir = Path(config.paths.cache_dir)
    tokenizer = TOKENIZERS.build(config.tokenizer).prepare(corpus.source, cache_dir=cache_dir, **corpus.fractions)
    tokens = tokenize_corpus(corpus.source, tokenizer, cache_dir=cache_dir, **corpus.fractions)
    return corpus, tokens, tokenizer


def build_task(config: TrainConfig) -> tuple[Task, Corpus]:
    """Returns the task on its data."""
    corpus, tokens, tokenizer = build_corpus(config)
    return TASKS.build(config.task, tokens, tokenizer, config.seed), corpus


def build_model(config: TrainConfig, task: Task) -> RoFormerPreTrainedModel:
    """Returns the task's model: freshly drawn from the seed, or with the weights of ``init_from``.

    Raises:
        UserError: if the tokenizer does not fit the checkpoint.
    """
    settings = {**config.model, **task.model_settings()}
    settings.update(position=config.position, attention_backend=config.attention["name"])
    settings.update(vocab_size=len(task.tokenizer), pad_token_id=task.tokenizer.pad_token_id)
    torch.manual_seed(config.seed)
    if config.init_from is None:
        return task.model_class(RoFormerConfig(**settings))
    return _load(checkpoint_folder(config.init_from), task, settings)


def _load(folder: Path, task: Task, settings: dict[str, Any]) -> RoFormerPreTrainedModel:
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    check_vocabulary(task.tokenizer, stored.get("vocab_size"), folder)
    if stored.get("model_type") == "roformer":  # a stock checkpoint
        encoder = RoFormerForMaskedLM.from_transformers(str(folder), attention_backend=settings["attention_backend"])
        model = task.model_class(RoFormerConfig(**{**encoder.config.to_dict(), **settings}))
        model.load_state_dict(encoder.state_dict(), strict=False)  # the head that the task lacks stays behind
        return model
    if stored.get("model_type") != RoFormerConfig.model_type:
        raise UserError(f"{folder} holds a model of type '{stored.get('model_type')}', not a RoFormer")
    config = RoFormerConfig.from_pretrained(folder)
    for key, value in settings.items():
        setattr(config, key, value)
    return task.model_class.from_pretrained(folder, config=config)


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, vocab_size: int | None, folder: Path) -> None:
    """Raises ``UserError`` unless the checkpoint has one embedding for each token."""
    if len(tokenizer) != vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, the checkpoint in {folder} has embeddings for {vocab_size}; "
            "use the tokenizer it was trained with (leave tokenizer out)"
        )
