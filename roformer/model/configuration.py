"""The model's configuration, stored as ``config.json`` next to the weights."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import AutoConfig, GenerationConfig, PretrainedConfig
from transformers.activations import ACT2FN
from transformers.utils import logging

from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, SoftmaxAttention, check_implementation
from roformer.errors import UserError
from roformer.model.auto_classes import register_models  # package only
from roformer.model.local_attention import check_local_attention
from roformer.model.portable_code import AUTO_MAP, FILE, portable_code  # package only
from roformer.position import POSITION_ENCODINGS, ModelShape
from roformer.registry import check_type, did_you_mean
from roformer.renamed import current_model_config

Pooling = Literal["cls", "mean", "last"]
NormType = Literal["layer_norm", "rms_norm", "scaled_rms_norm"]
LongDocuments = Literal["head", "head_tail", "windows"]

logger = logging.get_logger(__name__)

_SIZES = (
    "vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "decoder_layers", "global_attn_every_n_layers",
)  # fmt: skip
_SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "label_smoothing")

# What transformers itself passes to a configuration in addition to its fields.
_FRAMEWORK_KEYS = {
    "num_labels", "model_type", "auto_map", "torch_dtype", "attn_implementation", "output_attentions",
    "quantization_config",
}  # fmt: skip


class RoFormerLabConfig(PretrainedConfig):
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
        local_attention: tokens that a layer attends to besides each token itself, half of them to each side, as in
            ModernBERT; None or 0 for all.
        global_attn_every_n_layers: layer 0 and every n-th one attend to all tokens nevertheless.
        pad_token_id, bos_token_id, eos_token_id, decoder_start_token_id: as in transformers: what ``generate()`` pads
            with, begins and ends with, and what the decoder of an encoder-decoder begins every target with.
        pooling: what a classifier reads: ``cls``, the first token, ``last``, the last one, or ``mean`` over all.
        long_documents: what a classifier was trained to read of documents longer than its tokenizer's
            ``model_max_length``: their ``head``, ``head_tail``, or ``windows``.
        answers: how a model for questions was trained to read contexts and to answer: ``max_question_length`` and
            ``stride``, ``max_answer_length`` (tokens), and whether an answer ``may_be_empty``; None if unknown.
        classifier_activation: name of an activation: a dense layer and this come before the classifier, as in
            transformers' RoFormer; None for a linear classifier.
        add_pooler: the body has BERT's pooler as well: a dense layer and ``pooler_activation`` on the first token.
        pooler_activation: ``tanh`` as in BERT, or another activation; RoFormer-Sim has ``linear``.
        norm_type: ``layer_norm``; RoFormerV2's ``rms_norm``, which has no weights; or ``scaled_rms_norm``, which has
            them, as keras-hub's RoFormerV2.
        use_bias: biases in all layers and in the output; RoFormerV2 has none.
        use_cache: a decoder that is given no labels returns a cache of its keys and values.

    A person's typing error is refused; a key that another program wrote into ``config.json`` is kept, with a warning,
    and a null there stands for the default.

    Raises:
        UserError: if a key is unknown or a value is impossible.
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
    attention_backend: str = "auto"
    attention_settings: dict[str, Any] | None = None
    local_attention: int | None = None
    global_attn_every_n_layers: int = 3
    pooling: Pooling = "cls"
    long_documents: LongDocuments = "head"
    answers: dict[str, Any] | None = None
    classifier_activation: str | None = None
    add_pooler: bool = False
    pooler_activation: str = "tanh"
    norm_type: NormType = "layer_norm"
    use_bias: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_unknown(kwargs)
        self.embedding_size = self.embedding_size or self.hidden_size
        self.local_attention = self.local_attention or None
        if self.is_encoder_decoder:
            self.decoder_layers = self.decoder_layers or self.num_hidden_layers
        check_type("RoFormerLabConfig.position", self.position, dict | None)
        self.position = dict(self.position or {"name": "rope"})
        super().__post_init__(**kwargs)
        self._check_values()
        register_models()  # package only

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Reads what ``config.json`` holds, including names of version 0.1; keywords are as in transformers.

        A file is written by other programs, too: keys that mean nothing here stay in the configuration, and a warning
        names them.
        """
        given = current_model_config(config_dict)
        stored = {key: value for key, value in given.items() if value is not None or key not in _NEVER_NULL}
        foreign = {key: stored.pop(key) for key in list(stored) if not cls._knows(key)}
        for key in foreign.keys() & _OF_GENERATION:  # which transformers keeps in another file
            del foreign[key]
        for key in foreign:
            hint = did_you_mean(key, _own_settings())
            logger.warning_once(f"config.json: {cls.__name__} has no setting '{key}'{hint}")
        read = super().from_dict(stored, **kwargs)
        config = read[0] if isinstance(read, tuple) else read
        for key, value in foreign.items():
            if cls._may_set(key):
                setattr(config, key, value)
        return read

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # package only
        """Writes ``config.json``, and the code with which transformers loads the model without this package."""
        assert self.position is not None
        code = portable_code(self.position, self.attention_backend)
        self.__dict__.pop("auto_map", None)
        if code:
            self.auto_map = {**AUTO_MAP}
        super().save_pretrained(save_directory, **kwargs)
        if code:
            (Path(save_directory) / FILE).write_text(code, encoding="utf-8")

    @property
    def _attn_implementation(self) -> str | None:
        return self._attn_implementation_internal

    @_attn_implementation.setter
    def _attn_implementation(self, value: str | dict[str, str] | None) -> None:
        """Called where somebody names an ``attn_implementation``, which then chooses the backend; a dictionary has the
        one of the whole model under the name ""."""
        value = value.get("") if isinstance(value, dict) else value
        self._attn_implementation_internal = value
        if value is not None:
            self.choose_attention(value)

    def choose_attention(self, attn_implementation: str) -> None:
        """Sets the backend that computes transformers' ``attn_implementation``: ``eager``, ``sdpa``, or any name in
        its ``AttentionInterface``.

        Raises:
            UserError: if the weights need another operator than softmax attention.
        """
        if not issubclass(ATTENTION_BACKENDS[self.attention_backend], SoftmaxAttention):
            raise UserError(
                f"attn_implementation={attn_implementation} is softmax attention, and this model has "
                f"{self.attention_backend}; leave it out"
            )
        name = attn_implementation.removeprefix("paged|")
        own = name in ("eager", "sdpa")
        if not own:
            check_implementation(name)
        self.attention_backend = name if own else "kernel"
        self.attention_settings = None if own else {"implementation": name}

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

    def build_attention(self, *, rotary_value: bool) -> AttentionBackend:
        """Returns a new attention backend."""
        return ATTENTION_BACKENDS.build(self.attention, self.shape, self.attention_probs_dropout_prob, rotary_value)

    @classmethod
    def _knows(cls, key: str) -> bool:
        known = key in _own_settings() | _FRAMEWORK_KEYS or key.startswith("_")
        return known or (hasattr(_PLAIN, key) and cls._may_set(key))

    @classmethod
    def _may_set(cls, key: str) -> bool:
        """Whether this is the name of no method, and of no property that is only read."""
        attribute = getattr(cls, key, None)
        return not callable(attribute) and (not isinstance(attribute, property) or attribute.fset is not None)

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        for key in kwargs:
            if not self._knows(key):
                raise UserError(f"RoFormerLabConfig has no setting '{key}'{did_you_mean(key, _own_settings())}")

    def _check_values(self) -> None:
        for name, annotation in RoFormerLabConfig.__annotations__.items():
            check_type(f"RoFormerLabConfig.{name}", getattr(self, name), annotation)
        for name in _SIZES:
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"RoFormerLabConfig.{name} must be at least 1, got {value}")
        if self.type_vocab_size < 0:
            raise UserError(f"RoFormerLabConfig.type_vocab_size must be 0 or more, got {self.type_vocab_size}")
        if self.initializer_range < 0:
            raise UserError(f"RoFormerLabConfig.initializer_range must be 0 or more, got {self.initializer_range}")
        if self.layer_norm_eps <= 0:
            raise UserError(f"RoFormerLabConfig.layer_norm_eps must be above 0, got {self.layer_norm_eps}")
        for name in _SHARES:
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise UserError(f"RoFormerLabConfig.{name} must lie in [0, 1), got {getattr(self, name)}")
        assert self.position is not None
        POSITION_ENCODINGS[self.position.get("name", "")]
        ATTENTION_BACKENDS.check(self.attention)
        check_local_attention(self, ATTENTION_BACKENDS[self.attention_backend])
        if self.is_encoder_decoder and self.embedding_size != self.hidden_size:
            raise UserError(
                f"an encoder-decoder has one width: embedding_size {self.embedding_size} is not hidden_size "
                f"{self.hidden_size}"
            )
        if self.decoder_layers and not self.is_encoder_decoder:
            raise UserError(
                f"RoFormerLabConfig.decoder_layers={self.decoder_layers} is for an encoder-decoder, as "
                "task=translation has it; leave it out, or choose another model"
            )
        for name in ("hidden_act", "classifier_activation", "pooler_activation"):
            if (activation := getattr(self, name)) is not None and activation not in ACT2FN:
                raise UserError(f"RoFormerLabConfig.{name}: unknown '{activation}'{did_you_mean(activation, ACT2FN)}")
        if self.rotary_value and self.position["name"] != "rope":
            raise UserError(f"rotary_value needs position rope, got '{self.position['name']}'")
        self.shape  # noqa: B018  # raises where the heads do not divide the hidden size


def _own_settings() -> set[str]:
    return {field.name for field in fields(RoFormerLabConfig)}


_PLAIN = PretrainedConfig()
_OF_GENERATION = vars(GenerationConfig()).keys()
_NEVER_NULL = {
    name for name, annotation in RoFormerLabConfig.__annotations__.items() if type(None) not in get_args(annotation)
}

AutoConfig.register(RoFormerLabConfig.model_type, RoFormerLabConfig)  # package only
