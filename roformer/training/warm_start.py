"""Starting from the weights of ``init_from``: what they fix in the configuration, and how they are loaded."""

from collections.abc import Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedTokenizerFast

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import Settings, TrainConfig, sequence_length
from roformer.data.tokenize import vocabulary_size
from roformer.errors import UserError, one_line
from roformer.model import RoFormerLabConfig, RoFormerPreTrainedModel
from roformer.model.factory import draw_model, model_settings
from roformer.model.interop import ForeignCheckpoint
from roformer.model.interop.folder import read_json
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding
from roformer.renamed import current_model_config
from roformer.runs.folder import find_export, run_of_export
from roformer.tasks import TASKS, Task
from roformer.tokenizer.pretrained import load_tokenizer

# What fine-tuning may change of a checkpoint's model; the shapes of its weights fix the rest.
_FREE_MODEL_SETTINGS = ("hidden_dropout_prob", "attention_probs_dropout_prob")

# What it may change if asked to: it has no weights, but those of the checkpoint were trained with it.
_MODEL_SETTINGS_TO_ASK_FOR = ("local_attention", "global_attn_every_n_layers")

# Weights of heads that fine-tuning may draw anew. A language model needs the head of its checkpoint.
_NEW_HEADS = ("classifier.", "qa_outputs.")

# Of a scaling: the checkpoint's training length, in tokens.
_TRAINED_LENGTH = "original_max_position_embeddings"


class WarmStart:
    """The checkpoint that a run starts from.

    Args:
        init_from: output folder of a finished run, or an export; or a checkpoint of another program, in a folder or
            on the hub (``roformer.model.interop``).

    Attributes:
        foreign: the checkpoint of another program, or None.
        stored: the settings of the checkpoint's model.
        position: its position encoding; None where its positions are not kept, so that any may be chosen.

    Raises:
        UserError: if there is no such checkpoint, or it is of another kind of model.
    """

    def __init__(self, init_from: str) -> None:
        self.given = f"init_from={init_from}"
        self.export = find_export(init_from, "init_from=")
        stored = read_json(self.export / "config.json") if (self.export / "config.json").is_file() else {}
        own = stored.get("model_type") == RoFormerLabConfig.model_type
        self.foreign = None if own else ForeignCheckpoint(self.export)
        self.stored: Settings = current_model_config(stored) if self.foreign is None else self.foreign.settings
        any_position = self.foreign is not None and self.foreign.new_positions
        self.position: Settings | None = None if any_position else self.stored.get("position") or {"name": "rope"}

    def adapt(self, config: TrainConfig, overridden: frozenset[str]) -> TrainConfig:
        """Returns the configuration with the model, encoding, attention and tokenizer that the weights fix.

        A scaling of the checkpoint's encoding (``rope`` to ``rope_yarn``), and another window, may be asked for: they
        need no weights.

        Args:
            config: as composed.
            overridden: groups and values that the user set on the command line ("position", "model.hidden_size").

        Raises:
            UserError: if one of them contradicts the checkpoint.
        """
        self._check_kind(config.task["name"])
        position = self._position(config.position, overridden)
        attention = self._attention(config.attention)
        asked = {key for key in _MODEL_SETTINGS_TO_ASK_FOR if f"model.{key}" in overridden}
        fixed = [key for key in config.model if key in self.stored and key not in {*_FREE_MODEL_SETTINGS, *asked}]
        model = {key: self.stored[key] for key in fixed}
        self._refuse_contradictions(config, overridden, {"model": model, "position": position})
        ours = {"name": "pretrained", "path": str(self.export)}
        tokenizer = config.tokenizer if "tokenizer" in overridden else ours
        return replace(
            config, model={**config.model, **model}, position=position, tokenizer=tokenizer, attention=attention
        )

    def load(
        self,
        model_class: type[RoFormerPreTrainedModel],
        settings: dict[str, Any],
        tokenizer: PreTrainedTokenizerFast,
    ) -> RoFormerPreTrainedModel:
        """Returns a model with the checkpoint's weights; a new head is drawn from torch's generator.

        Args:
            model_class: what the task trains.
            settings: keyword arguments of ``RoFormerLabConfig``.
            tokenizer: of the task.

        Raises:
            UserError: if the tokenizer does not fit, or weights are missing.
        """
        self._check_vocabulary(tokenizer)
        settings = {**settings, "vocab_size": self.stored["vocab_size"]}  # more than the tokenizer has, where padded
        folder = self.export
        if self.foreign is not None:
            return self.foreign.load(model_class, settings)
        config = RoFormerLabConfig.from_pretrained(folder)
        for key, value in settings.items():
            setattr(config, key, value)
        try:
            model, loaded = model_class.from_pretrained(
                folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True
            )
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot read the weights in {folder} ({one_line(error)}); export them again") from error
        if surplus := sorted(key for key in loaded["unexpected_keys"] if key.startswith("roformer.")):
            raise UserError(
                f"{folder} has weights that its config.json has no place for, such as {surplus[0]}; restore "
                "config.json"
            )
        _check_types(folder, {name for name, _ in model.named_parameters()})
        absent = {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}
        if unexpected := sorted(key for key in absent if not key.startswith(_NEW_HEADS)):
            raise UserError(f"{folder} has no fitting weights for {unexpected[0]}, which {type(model).__name__} needs")
        return model

    def _check_kind(self, task: str) -> None:
        """Raises ``UserError`` where the checkpoint's tokens see other tokens than those of the task's model do."""
        requested, stored = TASKS[task].architecture, self.stored
        if stored.get("is_encoder_decoder") and not requested.get("is_encoder_decoder"):
            raise UserError(
                f"{self.given} is an encoder-decoder, from which task={task} cannot start; leave init_from out, or "
                "name another run"
            )
        if requested.get("is_encoder_decoder") and not stored.get("is_encoder_decoder"):
            raise UserError(
                f"{self.given} is not an encoder-decoder, which task={task} needs; leave init_from out, or name a "
                "run of task=translation"
            )
        if stored.get("is_decoder") and requested.get("is_decoder") is False:
            raise UserError(
                f"{self.given} is a causal model, and task={task} needs both sides of a token; name an encoder, or "
                "choose task=causal_lm"
            )
        becomes_causal = requested.get("is_decoder") and not stored.get("is_decoder")
        if becomes_causal and self.position and self._encoding(self.position).traits.causal == "own_parameters":
            raise UserError(
                f"{self.given} was trained with bidirectional {self.position['name']} distances, and the parameters "
                "of a causal model stand for other ones; train it from scratch"
            )

    def _encoding(self, position: Settings) -> PositionEncoding:
        """Builds the checkpoint's encoding, without its weights."""
        sizes = {field.name: self.stored[field.name] for field in fields(ModelShape) if field.name in self.stored}
        return POSITION_ENCODINGS.build(position, ModelShape(**sizes))

    def _position(self, asked: Settings, overridden: frozenset[str]) -> Settings:
        """Returns the checkpoint's encoding, or what is asked for: a scaling of it, or any where it has none.

        A scaling has the checkpoint's settings where both have them, and its training length.
        """
        if self.position is None:
            return asked
        if "position" not in overridden or not _scales(asked, self.position):
            return self.position
        run = run_of_export(self.export)
        trained = sequence_length(run.config["task"]) if run and run.config else None
        if not trained and _TRAINED_LENGTH in asked and f"position.{_TRAINED_LENGTH}" not in overridden:
            raise UserError(
                f"{self.given} does not say at which length it was trained; give position.{_TRAINED_LENGTH}, in tokens"
            )
        known = {**self.position, "name": asked["name"], **({_TRAINED_LENGTH: trained} if trained else {})}
        return {key: known.get(key, value) for key, value in asked.items()}

    def _attention(self, configured: Settings) -> Settings:
        """Returns the attention that the weights allow: any softmax backend for another, otherwise their own.

        Raises:
            UserError: if they were trained with another operator, or other settings of it, than is asked for.
        """
        asked = {key: value for key, value in configured.items() if (key, value) != ("name", "auto")}
        own = self.stored.get("attention_settings") or {}
        trained = {"name": self.stored.get("attention_backend", "sdpa"), **own}
        both = (ATTENTION_BACKENDS[each["name"]] for each in (trained, {**trained, **asked}))
        if all(issubclass(backend, SoftmaxAttention) for backend in both):
            return configured
        for key, value in asked.items():
            if value not in (None, trained.get(key)):
                name = "attention" if key == "name" else f"attention.{key}"
                raise UserError(
                    f"{name}={value} does not fit {self.given}, whose weights were trained with {trained.get(key)}; "
                    f"leave {name} out"
                )
        return trained

    def _refuse_contradictions(
        self, config: TrainConfig, overridden: frozenset[str], fixed: dict[str, Settings]
    ) -> None:
        for key in sorted(overridden):
            group, _, name = key.partition(".")
            if group == "tokenizer" and name and "tokenizer" not in overridden:
                raise UserError(f"{key} has no effect with init_from, which brings its tokenizer; leave it out")
            if group not in fixed:
                continue
            asked = getattr(config, group)
            # position=rope names an encoding, whose settings are then the checkpoint's; model=small names all sizes
            names = [name] if name else ["name"] if group == "position" else list(fixed[group])
            for differs in (name for name in names if name in fixed[group] and asked.get(name) != fixed[group][name]):
                raise UserError(
                    f"{key} does not fit {self.given}, whose weights have "
                    f"{group}.{differs}={fixed[group][differs]}; leave {key} out"
                )

    def _check_vocabulary(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raises ``UserError`` unless the checkpoint has an embedding for each token, and they are the same.

        It may have more of them, as padded vocabularies do, if it comes with the tokenizer that has fewer.
        """
        folder, known, needed = self.export, self.stored.get("vocab_size") or 0, vocabulary_size(tokenizer)
        brings_its_own = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
        if needed > known or (needed < known and not brings_its_own):
            raise UserError(
                f"the tokenizer needs {needed} embeddings, the checkpoint in {folder} has {known}; "
                "use the tokenizer it was trained with (leave tokenizer out)"
            )
        if not brings_its_own or tokenizer.name_or_path == str(folder):
            return
        if load_tokenizer(str(folder)).get_vocab() != tokenizer.get_vocab():
            raise UserError(
                f"the tokenizer gives other numbers to its tokens than the one in {folder}; "
                "use the tokenizer it was trained with (leave tokenizer out)"
            )


def _check_types(folder: Path, parameters: Set[str]) -> None:
    """Raises ``UserError`` if a weight is stored as whole numbers, whose scale nothing says."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in parameters & set(weights.keys()):
                if not (stored := weights.get_slice(name).get_dtype()).startswith(("F", "BF")):
                    raise UserError(
                        f"{file} holds {name} as {stored}, not as floats; export the checkpoint unquantized"
                    )


def fit_to_checkpoint(config: TrainConfig, overridden: frozenset[str]) -> TrainConfig:
    """Returns the configuration with what ``init_from`` fixes, unchanged without one; see ``WarmStart.adapt``."""
    return WarmStart(config.init_from).adapt(config, overridden) if config.init_from else config


def build_model(config: TrainConfig, task: Task) -> RoFormerPreTrainedModel:
    """Returns the task's model in training mode: with the weights of ``init_from``, or freshly drawn from the seed.

    Raises:
        UserError: if the tokenizer does not fit the checkpoint, or weights are missing.
    """
    settings = model_settings(config, {**task.architecture, **task.model_settings()}, task.tokenizer)
    if config.init_from is None:
        model = draw_model(task.model_class, settings, config.seed)
    else:
        torch.manual_seed(config.seed)
        model = WarmStart(config.init_from).load(task.model_class, settings, task.tokenizer)
    if config.trainer.gradient_checkpointing:
        known = hasattr(model, "activation_checkpointing_enable")  # its name from transformers 5.23 on
        enable = model.activation_checkpointing_enable if known else model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model.train()  # ``from_pretrained`` leaves it in evaluation mode


def _scales(asked: Settings, stored: Settings) -> bool:
    """Returns whether an encoding is the stored one, extended to longer texts, with all of its settings."""
    scaled = POSITION_ENCODINGS[asked["name"]].scales is POSITION_ENCODINGS[stored["name"]]
    return scaled and stored.get("frequency_band", "all") == "all"


def read_settings(export: Path) -> Settings:
    """Returns what the ``config.json`` of one of our exports holds, by today's names.

    Raises:
        UserError: if it is of another kind of model, or no JSON.
    """
    stored = read_json(export / "config.json")
    if stored.get("model_type") != RoFormerLabConfig.model_type:
        raise UserError(
            f"{export} holds a model of type '{stored.get('model_type')}', not one of this package; train from it "
            f"first (init_from={export})"
        )
    return current_model_config(stored)
