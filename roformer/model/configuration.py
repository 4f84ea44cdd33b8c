"""The model's configuration, stored as ``config.json`` next to the weights."""

from dataclasses import fields
from typing import Any, Literal

from transformers import AutoConfig, PretrainedConfig
from transformers.activations import ACT2FN

from roformer.attention import ATTENTION_BACKENDS
from roformer.errors import UserError
from roformer.model.auto_classes import register_models
from roformer.position import POSITION_ENCODINGS, ModelShape
from roformer.registry import check_type, did_you_mean
from roformer.renamed import current_model_config

Pooling = Literal["cls", "mean"]

_SIZES = (
    "vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "decoder_layers",
)  # fmt: skip
_SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "label_smoothing")

# What transformers itself passes to a configuration in addition to its fields.
_FRAMEWORK_KEYS = {"num_labels", "model_type", "auto_map", "torch_dtype", "attn_implementation", "output_attentions"}


class RoFormerConfig(PretrainedConfig):
    """Sizes and choices of a RoFormer; the defaults are those of BERT-base, as in section 4.2 of the paper.

    Args:
        vocab_size: rows of the token embedding.
        embedding_size: width of the embeddings and of the tied output layer; None means ``hidden_size``.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: sizes of the encoder.
        hidden_act: name of an activation in transformers, of the feed-forward layers and the MLM head.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout in training, as in BERT.
        classifier_dropout: dropout before the classifier; None means ``hidden_dropout_prob``.
        max_position_embeddings: rows of a position table, for the encodings that have one; no limit for the others.
        type_vocab_size: token types; 0 for none.
        initializer_range: standard deviation of the initial weights.
        layer_norm_eps: epsilon of the layer norms.
        normalize_embedding: a layer norm after the embeddings, as in BERT.
        scale_embedding: multiply token embeddings by sqrt(width), as Vaswani et al. do before they add sinusoids.
        is_decoder: no token sees those after it.
        add_cross_attention: tokens read those of an encoder as well.
        is_encoder_decoder: one model that has both; ``num_hidden_layers`` are then those of the encoder.
        decoder_layers: of such a model, and of no other; None means as many as of the encoder.
        label_smoothing: probability that its loss spreads evenly over the vocabulary, in training.
        rotary_value: rotate the values as well as queries and keys.
        position: ``{"name": "rope", "rope_theta": 10000.0}``: the encoding's name and its settings.
        attention_backend: a name in ``roformer/attention``.
        attention_settings: settings of that backend, such as ``{"num_features": 512}`` for ``favor_plus``.
        pad_token_id, bos_token_id, eos_token_id, decoder_start_token_id: as in transformers: what ``generate()`` pads
            with, begins and ends with, and what the decoder of an encoder-decoder begins every target with.
        pooling: what a classifier reads: ``cls``, the first token, or ``mean`` over all tokens.

    Raises:
        UserError: if a key is unknown or a value is impossible. (Stock configurations take any key in silence.)
    """

    model_type = "roformer_lab"

    vocab_size: int = 30522
    embedding_size: int | None = None
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    normalize_embedding: bool = True
    scale_embedding: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    is_encoder_decoder: bool = False
    decoder_layers: int | None = None
    label_smoothing: float = 0.0
    rotary_value: bool = False
    position: dict[str, Any] | None = None
    attention_backend: str = "sdpa"
    attention_settings: dict[str, Any] | None = None
    pooling: Pooling = "cls"
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_unknown(kwargs)
        self.embedding_size = self.embedding_size or self.hidden_size
        if self.is_encoder_decoder:
            self.decoder_layers = self.decoder_layers or self.num_hidden_layers
        check_type("RoFormerConfig.position", self.position, dict | None)
        self.position = dict(self.position or {"name": "rope"})
        super().__post_init__(**kwargs)
        self._check_values()
        register_models()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Reads what ``config.json`` holds, including names of version 0.1; keywords are as in transformers."""
        return super().from_dict(current_model_config(config_dict), **kwargs)

    @property
    def shape(self) -> ModelShape:
        """The sizes that a position encoding may ask for."""
        return ModelShape(
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            embedding_size=self.embedding_size,
            max_position_embeddings=self.max_position_embeddings,
            num_hidden_layers=self.num_hidden_layers,
            causal=self.is_decoder,
        )

    @property
    def attention(self) -> dict[str, Any]:
        """Name and settings of the attention backend, as its registry builds one."""
        return {**(self.attention_settings or {}), "name": self.attention_backend}

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        ours = {field.name for field in fields(self)}
        for key in kwargs:
            framework = key in _FRAMEWORK_KEYS or key.startswith("_") or hasattr(PretrainedConfig(), key)
            if not framework:
                raise UserError(f"RoFormerConfig has no setting '{key}'{did_you_mean(key, ours)}")

    def _check_values(self) -> None:
        for name, annotation in RoFormerConfig.__annotations__.items():
            check_type(f"RoFormerConfig.{name}", getattr(self, name), annotation)
        for name in _SIZES:
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"RoFormerConfig.{name} must be at least 1, got {value}")
        if self.type_vocab_size < 0:
            raise UserError(f"RoFormerConfig.type_vocab_size must be 0 or more, got {self.type_vocab_size}")
        if self.initializer_range < 0:
            raise UserError(f"RoFormerConfig.initializer_range must be 0 or more, got {self.initializer_range}")
        if self.layer_norm_eps <= 0:
            raise UserError(f"RoFormerConfig.layer_norm_eps must be above 0, got {self.layer_norm_eps}")
        for name in _SHARES:
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise UserError(f"RoFormerConfig.{name} must lie in [0, 1), got {getattr(self, name)}")
        assert self.position is not None
        POSITION_ENCODINGS[self.position.get("name", "")]
        ATTENTION_BACKENDS.check(self.attention)
        if self.is_encoder_decoder and self.embedding_size != self.hidden_size:
            raise UserError(
                f"an encoder-decoder has one width: embedding_size {self.embedding_size} is not hidden_size "
                f"{self.hidden_size}"
            )
        if self.decoder_layers and not self.is_encoder_decoder:
            raise UserError(
                f"RoFormerConfig.decoder_layers={self.decoder_layers} is for an encoder-decoder, as task=translation "
                "has it; leave it out, or choose another model"
            )
        if self.hidden_act not in ACT2FN:
            raise UserError(
                f"RoFormerConfig.hidden_act: unknown '{self.hidden_act}'{did_you_mean(self.hidden_act, ACT2FN)}"
            )
        if self.rotary_value and self.position["name"] != "rope":
            raise UserError(f"rotary_value needs position rope, got '{self.position['name']}'")
        self.shape  # noqa: B018  # raises where the heads do not divide the hidden size


AutoConfig.register(RoFormerConfig.model_type, RoFormerConfig)
