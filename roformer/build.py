"""From a configuration to the objects it describes: corpus, tokenizer, task and model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerFast

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import Settings, TrainConfig, sequence_length
from roformer.data import SOURCES, Source
from roformer.data.glue import GLUE
from roformer.data.packing import SPECIAL_TOKENS
from roformer.data.preprocess import TokenizedCorpus, tokenize_corpus
from roformer.errors import UserError
from roformer.model import (
    RoFormerConfig,
    RoFormerForMaskedLM,
    RoFormerPreTrainedModel,
)
from roformer.position import POSITION_ENCODINGS
from roformer.runs.folder import find_export, run_of_export
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
        names = ("validation_fraction", "test_fraction")
        if missing := [name for name in names if name not in data]:
            raise UserError(f"data.{missing[0]} needs a value, such as 0.05")
        fractions = {name: data[name] for name in names}
        return cls(SOURCES.build({key: value for key, value in data.items() if key not in fractions}), fractions)


def resolve_checkpoint(config: TrainConfig, overridden: frozenset[str]) -> TrainConfig:
    """Puts the model, positions and tokenizer of ``init_from``, which its weights fix, in place of the configured.

    A scaling of the checkpoint's encoding (``rope`` to ``rope_yarn``) may be asked for: it needs no weights.

    Args:
        config: as composed.
        overridden: groups and values that the user set on the command line ("position", "model.hidden_size").

    Raises:
        UserError: if one of them contradicts the checkpoint.
    """
    if config.init_from is None:
        return config
    folder = find_export(config.init_from)
    stored = _stored_settings(folder)
    position = stored.get("position") or {"name": "rope"}
    _refuse_other_kinds(config, stored, position["name"])
    if "position" in overridden and _scales(config.position, position):
        run = run_of_export(folder)
        trained = sequence_length(run.config["task"]) if run and run.config else None
        if not trained and "original_length" in config.position and "position.original_length" not in overridden:
            raise UserError(
                f"init_from={config.init_from} does not say at which length it was trained; give "
                "position.original_length, in tokens"
            )
        known = {**position, "name": config.position["name"], **({"original_length": trained} if trained else {})}
        position = {key: known.get(key, value) for key, value in config.position.items()}
    attention = _checkpoint_attention(config, stored)
    model = {key: stored[key] for key in config.model if key in stored and key not in _FREE_MODEL_SETTINGS}
    _refuse_contradictions(config, overridden, {"model": model, "position": position})
    tokenizer = config.tokenizer if "tokenizer" in overridden else {"name": "pretrained", "path": str(folder)}
    return replace(
        config, model={**config.model, **model}, position=position, tokenizer=tokenizer, attention=attention
    )


def _refuse_other_kinds(config: TrainConfig, stored: dict[str, Any], position: str) -> None:
    """Raises ``UserError`` where tokens of the checkpoint see other tokens than those of the task's model do."""
    kind, given = TASKS[config.task["name"]].model_kind, f"init_from={config.init_from}"
    if stored.get("is_encoder_decoder") and not kind.get("is_encoder_decoder"):
        raise UserError(
            f"{given} translates, and task={config.task['name']} cannot start from an encoder with a decoder; leave "
            "it out, or name another run"
        )
    if kind.get("is_encoder_decoder") and not stored.get("is_encoder_decoder"):
        raise UserError(
            f"{given} has no decoder beside an encoder, as task={config.task['name']} needs it; leave it out, or name "
            "a run that translates"
        )
    if stored.get("is_decoder") and kind.get("is_decoder") is False:
        raise UserError(
            f"{given} reads from left to right, and this task needs both sides of a token; name an encoder, or choose "
            "task=causal_lm"
        )
    two_sided = kind.get("is_decoder") and not stored.get("is_decoder")
    if two_sided and POSITION_ENCODINGS[position].one_sided_if_causal:
        raise UserError(
            f"{given} has learned {position} distances to both sides, and a model that reads from left to right needs "
            "them to one; train it from scratch"
        )


def _checkpoint_attention(config: TrainConfig, stored: dict[str, Any]) -> Settings:
    """Returns the attention of a run that starts from a checkpoint: any backend of softmax attention for another, and
    of linear attention the checkpoint's own.

    Raises:
        UserError: if the weights were trained for another operator, or with other settings of it, than are asked for.
    """
    asked = {key: value for key, value in config.attention.items() if (key, value) != ("name", "auto")}
    trained = {"name": stored.get("attention_backend", "sdpa"), **(stored.get("attention_settings") or {})}
    both = (ATTENTION_BACKENDS[each["name"]] for each in (trained, {**trained, **asked}))
    if all(issubclass(backend, SoftmaxAttention) for backend in both):
        return config.attention
    for key, value in asked.items():
        if value not in (None, trained.get(key)):
            given = "attention" if key == "name" else f"attention.{key}"
            raise UserError(
                f"{given}={value} does not fit init_from={config.init_from}, whose weights were trained with "
                f"{trained.get(key)}; leave {given} out"
            )
    return trained


def _scales(asked: Settings, stored: Settings) -> bool:
    """Returns whether an encoding is the stored one, changed for longer texts, with all of its settings."""
    ours, theirs = POSITION_ENCODINGS[asked["name"]], POSITION_ENCODINGS[stored["name"]]
    named = asked["name"].startswith(f"{stored['name']}_")  # xpos, too, derives from rope, but is no scaling of it
    return named and issubclass(ours, theirs) and stored.get("pairs", "all") == "all"


def _stored_settings(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}); export the checkpoint anew") from error
    if stored.get("model_type") not in (RoFormerConfig.model_type, "roformer"):
        raise UserError(f"{folder} holds a model of type '{stored.get('model_type')}', not a RoFormer")
    return stored


def _refuse_contradictions(config: TrainConfig, overridden: frozenset[str], fixed: dict[str, Settings]) -> None:
    for key in sorted(overridden):
        group, _, name = key.partition(".")
        if group == "tokenizer" and name and "tokenizer" not in overridden:
            raise UserError(f"{key} has no effect with init_from, which brings its tokenizer; leave it out")
        if group not in fixed:
            continue
        asked = getattr(config, group)
        # position=rope names an encoding, and its settings are then the checkpoint's; model=small names all its sizes
        names = [name] if name else ["name"] if group == "position" else list(fixed[group])
        for differs in (name for name in names if name in fixed[group] and asked.get(name) != fixed[group][name]):
            raise UserError(
                f"{key} does not fit init_from={config.init_from}, whose weights have "
                f"{group}.{differs}={fixed[group][differs]}; leave {key} out"
            )


def check_settings(config: TrainConfig) -> None:
    """Raises ``UserError`` for settings that cannot work, before any of the work; costs nothing."""
    TASKS.check(config.task)
    TOKENIZERS.check(config.tokenizer)
    if config.data["name"] == "glue" and (glue_task := config.data["glue_task"]) in GLUE:
        fitting = "regression" if GLUE[glue_task].metric == "spearman" else "classification"
        if config.task["name"] in {"classification", "regression"} - {fitting}:
            raise UserError(f"data.glue_task={glue_task} needs task={fitting}")
    kind = TASKS[config.task["name"]].model_kind
    shape = RoFormerConfig(**config.model, **kind, position=config.position).shape
    position = POSITION_ENCODINGS.build(config.position, shape)
    if kind.get("is_encoder_decoder"):
        POSITION_ENCODINGS.build(config.position, replace(shape, causal=True))
    auto = config.attention["name"] == "auto"  # then any of softmax attention, which all take the same
    attention = {**config.attention, "name": "sdpa"} if auto else config.attention
    ATTENTION_BACKENDS[attention["name"]].check(position)
    dropout = config.model["attention_probs_dropout_prob"]
    ATTENTION_BACKENDS.build(attention, shape, dropout, False)  # no value is rotated
    limit, words = config.task.get("max_length"), config.data.get("length")
    if limit and words and words + SPECIAL_TOKENS > limit:
        raise UserError(
            f"task.max_length={limit} cuts documents of data.length={words} words, and with them the answer; it needs "
            f"{words + SPECIAL_TOKENS}"
        )
    for key in ("sequence_length", "max_length"):
        if config.task.get(key, SPECIAL_TOKENS + 1) <= SPECIAL_TOKENS:
            raise UserError(f"task.{key} must be at least {SPECIAL_TOKENS + 1}, got {config.task[key]}")
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


def build_task(config: TrainConfig) -> Task:
    """Returns the task on its data."""
    _, tokens, tokenizer = build_corpus(config)
    return TASKS.build(config.task, tokens, tokenizer, config.seed)


def build_model(config: TrainConfig, task: Task) -> RoFormerPreTrainedModel:
    """Returns the task's model: freshly drawn from the seed, or with the weights of ``init_from``.

    Raises:
        UserError: if the tokenizer does not fit the checkpoint.
    """
    settings = {**config.model, **task.model_kind, **task.model_settings()}
    own = {key: value for key, value in config.attention.items() if key != "name"}
    settings.update(position=config.position, attention_backend=config.attention["name"], attention_settings=own)
    settings.update(vocab_size=len(task.tokenizer), pad_token_id=task.tokenizer.pad_token_id)
    if config.init_from is None:
        return _draw(task, settings, config.seed)
    torch.manual_seed(config.seed)
    return _load(find_export(config.init_from), task, settings)


def _draw(task: Task, settings: dict[str, Any], seed: int) -> RoFormerPreTrainedModel:
    """Draws weights such that models of one seed share all but the encoding's own: what seeds are paired for."""
    torch.manual_seed(seed)
    plain = task.model_class(RoFormerConfig(**{**settings, "position": {"name": "none"}, "rotary_value": False}))
    torch.manual_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    model = task.model_class(RoFormerConfig(**settings))
    model.load_state_dict(plain.state_dict(), strict=False)
    return model


def _load(folder: Path, task: Task, settings: dict[str, Any]) -> RoFormerPreTrainedModel:
    stored = _stored_settings(folder)
    check_vocabulary(task.tokenizer, stored.get("vocab_size"), folder)
    if stored.get("model_type") == "roformer":  # a stock checkpoint
        encoder = RoFormerForMaskedLM.from_transformers(str(folder), attention_backend=settings["attention_backend"])
        model = task.model_class(RoFormerConfig(**{**encoder.config.to_dict(), **settings}))
        model.load_state_dict(encoder.state_dict(), strict=False)  # the head that the task lacks stays behind
        return model
    config = RoFormerConfig.from_pretrained(folder)
    for key, value in settings.items():
        setattr(config, key, value)
    try:
        model, loaded = task.model_class.from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the weights in {folder}: {str(error).splitlines()[0]}") from error
    absent = {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}
    if unexpected := sorted(key for key in absent if not key.startswith("classifier.")):
        raise UserError(f"{folder} has no fitting weights for {unexpected[0]}, which {type(model).__name__} needs")
    return model


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, vocab_size: int | None, folder: Path) -> None:
    """Raises ``UserError`` unless the checkpoint has one embedding for each token, and they are the same tokens."""
    if len(tokenizer) != vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, the checkpoint in {folder} has embeddings for {vocab_size}; "
            "use the tokenizer it was trained with (leave tokenizer out)"
        )
    loadable = (folder / "tokenizer.json").is_file()
    if loadable and PreTrainedTokenizerFast.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the tokenizer gives other numbers to its tokens than the one in {folder}; "
            "use the tokenizer it was trained with (leave tokenizer out)"
        )
