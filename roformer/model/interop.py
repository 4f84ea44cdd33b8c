"""To and from Hugging Face RoFormer ("stock"), whose query, key and value projections are three separate layers."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerPreTrainedModel

MaskedLM = TypeVar("MaskedLM", bound=RoFormerPreTrainedModel)

_SHARED_SETTINGS = (
    "vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "rotary_value", "pad_token_id", "tie_word_embeddings",
)  # fmt: skip

_STOCK_POSITION = {
    "name": "rope",
    "rope_theta": 10000.0,
    "layout": "interleaved",
    "partial_rotary_factor": 1.0,
    "frequency_band": "all",
}

# Our module -> the stock module with the same parameters, outside the layers and inside one.
_MODULES = {
    "roformer.embeddings.word_embeddings": "roformer.embeddings.word_embeddings",
    "roformer.embeddings.token_type_embeddings": "roformer.embeddings.token_type_embeddings",
    "roformer.embeddings.norm": "roformer.embeddings.LayerNorm",
    "roformer.embeddings.project": "roformer.embeddings_project",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
_LAYER_MODULES = {
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_PROJECTIONS = ("query", "key", "value")


def _module_names(num_hidden_layers: int) -> dict[str, str]:
    """Our module -> stock module, for all that map one to one."""
    names = dict(_MODULES)
    for layer in range(num_hidden_layers):
        for ours, stock in _LAYER_MODULES.items():
            names[f"roformer.layers.{layer}.{ours}"] = f"roformer.encoder.layer.{layer}.{stock}"
    return names


def _read_stock(path: str) -> StockRoFormerForMaskedLM:
    """Loads from a folder or hub name; raises ``UserError`` where it holds something else, or only a part."""
    try:
        config = StockConfig.from_pretrained(path)
        if config.model_type != StockConfig.model_type:
            raise UserError(
                f"from_transformers reads a Hugging Face RoFormerForMaskedLM; '{path}' holds a model of type "
                f"'{config.model_type}'"
            )
        stock, loaded = StockRoFormerForMaskedLM.from_pretrained(path, config=config, output_loading_info=True)
    except OSError as error:
        raise UserError(f"no Hugging Face RoFormer at '{path}': {str(error).splitlines()[0]}") from error
    if surplus := sorted(key for key in loaded["unexpected_keys"] if key.startswith("roformer.encoder.")):
        raise UserError(f"'{path}' has weights that its config.json has no place for, such as {surplus[0]}")
    missing = sorted(set(loaded["missing_keys"]) - {"roformer.encoder.embed_positions.weight"})
    if missing:
        raise UserError(f"'{path}' has no weights for {missing[0]}; from_transformers needs encoder and MLM head")
    return stock


def from_stock(cls: type[MaskedLM], path_or_model: str | PreTrainedModel, settings: dict[str, Any]) -> MaskedLM:
    """See ``RoFormerForMaskedLM.from_transformers``."""
    stock = path_or_model if isinstance(path_or_model, PreTrainedModel) else _read_stock(path_or_model)
    if not isinstance(stock, StockRoFormerForMaskedLM) or stock.config.is_decoder:
        raise UserError(
            f"from_transformers reads a Hugging Face RoFormerForMaskedLM encoder, got {type(stock).__name__}"
        )

    shared = {name: getattr(stock.config, name) for name in _SHARED_SETTINGS}
    model = cls(RoFormerLabConfig(**{**shared, "position": _STOCK_POSITION, **settings}))
    theirs = stock.state_dict()
    ours: dict[str, Tensor] = {}
    for module, stock_module in _module_names(model.config.num_hidden_layers).items():
        for kind in ("weight", "bias"):
            if f"{stock_module}.{kind}" in theirs:
                ours[f"{module}.{kind}"] = theirs[f"{stock_module}.{kind}"]
    for layer in range(model.config.num_hidden_layers):
        for kind in ("weight", "bias"):
            parts = [theirs[f"roformer.encoder.layer.{layer}.attention.self.{name}.{kind}"] for name in _PROJECTIONS]
            ours[f"roformer.layers.{layer}.query_key_value.{kind}"] = torch.cat(parts)
    model.load_state_dict(ours)
    return model.to(stock.device, stock.dtype).train(stock.training)


def to_stock(model: RoFormerPreTrainedModel) -> StockRoFormerForMaskedLM:
    """See ``RoFormerForMaskedLM.to_transformers``."""
    if {**_STOCK_POSITION, **(model.config.position or {})} != _STOCK_POSITION:
        raise UserError(
            f"Hugging Face RoFormer has no equivalent of position {model.config.position}; it has rope only, "
            "interleaved, with rope_theta 10000 on all channels"
        )
    config = model.config
    operator = issubclass(ATTENTION_BACKENDS[config.attention_backend], SoftmaxAttention)
    if config.scale_embedding or not config.normalize_embedding or not operator:
        raise UserError(
            "Hugging Face RoFormer is an encoder with softmax attention and normed embeddings; this model is not"
        )
    stock = StockRoFormerForMaskedLM(StockConfig(**{name: getattr(model.config, name) for name in _SHARED_SETTINGS}))
    ours = model.state_dict()
    theirs = stock.state_dict()  # keeps the stock model's own table of angles
    for module, stock_module in _module_names(model.config.num_hidden_layers).items():
        for kind in ("weight", "bias"):
            if f"{module}.{kind}" in ours:
                theirs[f"{stock_module}.{kind}"] = ours[f"{module}.{kind}"]
    theirs["cls.predictions.bias"] = ours["head.decoder.bias"]
    for layer in range(model.config.num_hidden_layers):
        for kind in ("weight", "bias"):
            parts = ours[f"roformer.layers.{layer}.query_key_value.{kind}"].chunk(3)
            for name, part in zip(_PROJECTIONS, parts, strict=True):
                theirs[f"roformer.encoder.layer.{layer}.attention.self.{name}.{kind}"] = part
    stock.load_state_dict(theirs)
    return stock.to(model.device, model.dtype).train(model.training)
