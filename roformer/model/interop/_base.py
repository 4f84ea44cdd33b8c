"""What the checkpoints of other programs share: BERT's names, and how a format reads them.

``Checkpoint`` is what lies in a file or in memory; ``ForeignFormat`` knows what it means here.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PretrainedConfig

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.errors import UserError, one_line
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.local_attention import has_windows

Weights = dict[str, Tensor]

_LANGUAGE_MODELS = ("ForMaskedLM", "ForCausalLM", "ForPreTraining", "LMHeadModel")  # their heads predict tokens

# Our module -> theirs with the same parameters: outside the layers, inside one, and in the head that predicts tokens.
_BODY = {
    "embeddings.word_embeddings": "embeddings.word_embeddings",
    "embeddings.token_type_embeddings": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings.project": "embeddings_project",
}
_LAYER = {
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_LANGUAGE_MODEL = {
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
_PROJECTIONS = ("query", "key", "value")
_KINDS = ("weight", "bias")
_POOLER = "pooler.dense"
_THEIR_BODY = ("embeddings", "encoder.", _POOLER)

_SHARED_SETTINGS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings",
    "is_decoder", "use_cache", "id2label", "label2id", "problem_type",
)  # fmt: skip
_HEAD = re.compile(r"(For[A-Z]\w*|LMHeadModel|Model)$")


@dataclass
class Checkpoint:
    """A model of another program.

    Attributes:
        where: its folder or its class, for messages.
        stored: the content of its ``config.json``.
        read: returns the weights by their names there.
    """

    where: str
    stored: dict[str, Any]
    read: Callable[[], Weights]

    @cached_property
    def weights(self) -> Weights:
        """The weights, with the endings of PyTorch.

        Raises:
            UserError: if they cannot be read.
        """
        endings = {"gamma": "weight", "beta": "bias"}  # of checkpoints that TensorFlow's were converted to in 2019
        read = self.read()
        return {re.sub(r"(gamma|beta)$", lambda found: endings[found[0]], name): read[name] for name in read}

    @property
    def head(self) -> str:
        """What the model predicts, by transformers' name, such as ``ForMaskedLM``; ``Model`` for a body alone."""
        named = _HEAD.search((self.stored.get("architectures") or [""])[0])
        if named:
            return named[0]
        return "ForMaskedLM" if any(name.startswith("cls.predictions.") for name in self.weights) else "Model"


class ForeignFormat(ABC):
    """One kind of model that this package can become.

    Attributes:
        name: for messages.
        config_class: of transformers; knows the defaults of settings that a ``config.json`` does not have.
        shared: settings that have one name and one meaning there and here.
        prefix: before the names of the body's weights in a model with a head.
        heads: transformers' name of a model -> our module -> theirs.
        ignored: how the names of weights begin that mean nothing here.
        new_positions: whether its positions are other ones than those that it is given here.
    """

    name: ClassVar[str]
    shared: ClassVar[tuple[str, ...]] = _SHARED_SETTINGS
    config_class: ClassVar[type[PretrainedConfig]]
    prefix: ClassVar[str]
    heads: ClassVar[dict[str, dict[str, str]]]
    ignored: ClassVar[tuple[str, ...]]
    new_positions: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        """Returns whether a ``config.json`` is of this format."""

    @classmethod
    @abstractmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        """Returns the settings of ``RoFormerLabConfig`` that other formats do not share, but those of a head.

        Raises:
            UserError: if this package has no such model.
        """

    @classmethod
    @abstractmethod
    def own_head_settings(cls, config: PretrainedConfig, head: str) -> dict[str, Any]:
        """Returns what decides how a head reads the body, for transformers' name of a model; see ``own_settings``."""

    @classmethod
    def settings(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Returns the settings of ``RoFormerLabConfig`` that make the checkpoint's body.

        Raises:
            UserError: if this package has no such model, or a value is none.
        """
        config = cls._config(checkpoint)
        if config.add_cross_attention or config.is_encoder_decoder:
            raise UserError(f"'{checkpoint.where}' reads an encoder (add_cross_attention), which no model here does")
        return {**{name: getattr(config, name) for name in cls.shared}, **cls.own_settings(config)}

    @classmethod
    def head_settings(cls, checkpoint: Checkpoint) -> dict[str, Any]:
        """Returns those that its head adds."""
        return cls.own_head_settings(cls._config(checkpoint), checkpoint.head)

    @classmethod
    def _config(cls, checkpoint: Checkpoint) -> PretrainedConfig:
        """Returns the checkpoint's configuration, with the defaults of its format."""
        try:
            return cls.config_class.from_dict(checkpoint.stored)
        except Exception as error:  # transformers' checks of types raise errors of many kinds
            raise UserError(f"'{checkpoint.where}': {one_line(error)}; restore its config.json") from error

    @classmethod
    def translate(cls, checkpoint: Checkpoint, settings: dict[str, Any]) -> Weights:
        """Returns the checkpoint's weights by our names, those of the body as ``roformer.<name>``.

        Args:
            checkpoint: what to read.
            settings: as ``settings`` returned them.

        Raises:
            UserError: if the body has weights that its settings have no place for, or weights that are no floats.
        """
        theirs = {name.removeprefix(f"{cls.prefix}."): weight for name, weight in checkpoint.weights.items()}
        if wrong := [name for name in theirs if not _is_float(theirs[name]) and not name.startswith(cls.ignored)]:
            raise UserError(
                f"'{checkpoint.where}' holds {wrong[0]} as {theirs[wrong[0]].dtype}, not as floats; export it "
                "unquantized"
            )
        modules = cls.modules(settings["num_hidden_layers"], checkpoint.head)
        ours = {
            f"{module}.{kind}": theirs.pop(f"{stock}.{kind}")
            for module, stock in modules.items()
            for kind in _KINDS
            if f"{stock}.{kind}" in theirs
        }
        if settings["tie_word_embeddings"]:  # then the stored copies mean nothing
            ours = {name: weight for name, weight in ours.items() if not name.startswith("head.decoder.")}
        if "cls.predictions.bias" in theirs:
            ours.setdefault("head.decoder.bias", theirs["cls.predictions.bias"])
        for layer in range(settings["num_hidden_layers"]):
            for kind in _KINDS:
                names = [f"encoder.layer.{layer}.attention.self.{name}.{kind}" for name in _PROJECTIONS]
                shapes = {theirs[name].shape if name in theirs else None for name in names}
                if len(shapes) == 1 and None not in shapes:
                    joined = torch.cat([theirs.pop(name) for name in names])
                    ours[f"roformer.layers.{layer}.query_key_value.{kind}"] = joined
        left = [name for name in theirs if name.startswith(_THEIR_BODY) and not name.startswith(cls.ignored)]
        if left:
            raise UserError(
                f"'{checkpoint.where}' has weights that its config.json has no place for, such as {min(left)}"
            )
        return ours

    @classmethod
    def shared_settings(cls, config: RoFormerLabConfig) -> dict[str, Any]:
        """Returns the settings of one of our models by the names of this format.

        Raises:
            UserError: if the model has a body that BERT's family has not.
        """
        operator = issubclass(ATTENTION_BACKENDS[config.attention_backend], SoftmaxAttention)
        if config.scale_embedding or not config.normalize_embedding or not operator:
            raise UserError(
                f"Hugging Face {cls.name} is an encoder with softmax attention and normed embeddings; this model is "
                "not"
            )
        if config.norm_type != "layer_norm" or not config.use_bias:
            raise UserError(
                f"Hugging Face {cls.name} has layer norms and biases; this model has norm_type={config.norm_type} and "
                f"use_bias={config.use_bias}"
            )
        if has_windows(config):
            raise UserError(
                f"Hugging Face {cls.name} attends to all tokens in every layer; this model has "
                f"local_attention={config.local_attention}"
            )
        settings = {name: getattr(config, name) for name in cls.shared if hasattr(config, name)}
        return {**settings, "type_vocab_size": max(config.type_vocab_size, 1)}

    @classmethod
    def restore(cls, config: RoFormerLabConfig, weights: Weights, head: str) -> Weights:
        """Returns our weights by the names of this format, the opposite of ``translate``."""
        num_hidden_layers = config.num_hidden_layers
        stem = "" if head == "Model" else f"{cls.prefix}."
        theirs = {
            f"{stem if module.startswith(_THEIR_BODY) else ''}{module}.{kind}": weights[f"{ours}.{kind}"]
            for ours, module in cls.modules(num_hidden_layers, head).items()
            for kind in _KINDS
            if f"{ours}.{kind}" in weights
        }
        if "head.decoder.bias" in weights:
            theirs["cls.predictions.bias"] = weights["head.decoder.bias"]
        for layer in range(num_hidden_layers):
            for kind in _KINDS:
                parts = weights[f"roformer.layers.{layer}.query_key_value.{kind}"].chunk(3)
                for name, part in zip(_PROJECTIONS, parts, strict=True):
                    theirs[f"{stem}encoder.layer.{layer}.attention.self.{name}.{kind}"] = part
        if not config.type_vocab_size:  # every model of transformers adds one
            types = torch.zeros(1, config.embedding_size or config.hidden_size)
            theirs[f"{stem}embeddings.token_type_embeddings.weight"] = types
        return theirs

    @classmethod
    def modules(cls, num_hidden_layers: int, head: str) -> dict[str, str]:
        """Returns our module -> theirs, for all that map one to one; the names of their body without its prefix."""
        names = {f"roformer.{ours}": theirs for ours, theirs in _BODY.items()}
        for layer in range(num_hidden_layers):
            for ours, theirs in _LAYER.items():
                names[f"roformer.layers.{layer}.{ours}"] = f"encoder.layer.{layer}.{theirs}"
        of_head = _LANGUAGE_MODEL if head in _LANGUAGE_MODELS else cls.heads.get(head, {})
        pooler = {} if _POOLER in of_head.values() else {"roformer.pooler.dense": _POOLER}
        return {**names, **of_head, **pooler}


def same_head(head: str, other: str) -> bool:
    """Returns whether two models of transformers have a head of one kind."""
    return head == other or {head, other} <= {*_LANGUAGE_MODELS}


def _is_float(weight: Tensor) -> bool:
    return weight.is_floating_point() and weight.element_size() > 1


def own_modules(names: Iterable[str]) -> str:
    """Returns the modules of some weights, for a message."""
    return ", ".join(sorted({name.rpartition(".")[0] for name in names}))
