"""GGUF: one file with weights and vocabulary, from which llama.cpp computes text embeddings.

Source: ``jina-bert-v3`` in llama.cpp, its encoder with RoPE, a norm after each layer, GELU and biases, and its
``conversion/bert.py`` for the vocabulary.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.errors import UserError
from roformer.extras import require
from roformer.io import atomic_file
from roformer.model import RoFormerLabConfig, RoFormerModel
from roformer.model.local_attention import has_windows

FILE = "model.gguf"
ARCHITECTURE = "jina-bert-v3"

_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh")  # llama.cpp computes all by the tanh formula
_WORD = "\u2581"  # llama.cpp marks the first token of a word, WordPiece the others

# Our module -> llama.cpp's tensor, outside the layers and inside one.
_MODULES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.norm": "token_embd_norm",
}
_LAYER_MODULES = {
    "query_key_value": "attn_qkv",
    "attention_output": "attn_output",
    "attention_norm": "attn_output_norm",
    "intermediate": "ffn_up",
    "output": "ffn_down",
    "output_norm": "layer_output_norm",
}


def export_gguf(export: Path, file: Path) -> str:
    """Writes the encoder of an export, without its head, in float32, and its WordPiece vocabulary.

    Args:
        export: what ``from_pretrained`` reads.
        file: where to write.

    Returns:
        how llama.cpp will pool the vectors of the tokens: as a sequence classifier does, else their mean.

    Raises:
        UserError: if the package gguf is missing, or llama.cpp has no such encoder or tokenizer.
    """
    require("gguf", "GGUF")
    from gguf import GGUFWriter, LlamaFileType, PoolingType  # optional

    config = RoFormerLabConfig.from_pretrained(export)
    tokenizer = AutoTokenizer.from_pretrained(export)
    if misfits := [*_misfits(config), *_tokenizer_misfits(tokenizer)]:
        raise UserError(
            f"{export}: GGUF is written of RoPE encoders with layer norm, GELU, biases and a WordPiece tokenizer; "
            f"this one has {', '.join(misfits)}"
        )
    model = RoFormerModel.from_pretrained(export, dtype=torch.float32)
    is_classifier = config.architectures == ["RoFormerForSequenceClassification"]
    pooling = config.pooling if is_classifier else "mean"
    with atomic_file(file) as draft:
        writer = GGUFWriter(draft, ARCHITECTURE)
        writer.add_file_type(LlamaFileType.ALL_F32)
        writer.add_pooling_type(PoolingType[pooling.upper()])
        _add_sizes(writer, model)
        _add_vocabulary(writer, tokenizer, config.vocab_size)
        for name, tensor in tensors(model):
            writer.add_tensor(name, tensor.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return pooling


def tensors(model: RoFormerModel) -> Iterator[tuple[str, Tensor]]:
    """Yields llama.cpp's name and our weights; those of queries and keys in the order of the ``half`` layout."""
    position: Any = model.position  # rope: anything else was refused
    for name, weights in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        if module in _MODULES:
            yield f"{_MODULES[module]}.{kind}", weights
        elif module.startswith("layers."):
            _, layer, module = module.split(".")
            if module == "query_key_value" and position.layout == "interleaved":
                weights = halved(weights, model.config.num_attention_heads, position.rotary_size)
            yield f"blk.{layer}.{_LAYER_MODULES[module]}.{kind}", weights


def halved(weights: Tensor, num_heads: int, rotary_size: int) -> Tensor:
    """Reorders the channels of queries and keys, so that the pair (2i, 2i+1) becomes (i, i + R/2).

    Args:
        weights: (3 C, ...), of queries, keys and values.
        num_heads: H.
        rotary_size: R, the channels of a head that are rotated, from the first on.
    """
    parts = weights.unflatten(0, (3, num_heads, -1))  # (3, H, D, ...)
    order = torch.arange(parts.shape[2])
    order[:rotary_size] = order[:rotary_size].unflatten(0, (-1, 2)).T.flatten()
    return torch.cat((parts[:2, :, order], parts[2:])).flatten(0, 2)


def _misfits(config: RoFormerLabConfig) -> Iterator[str]:
    """Names the settings of which llama.cpp has no such encoder."""
    needed = {
        "is_decoder": False, "is_encoder_decoder": False, "embedding_size": config.hidden_size, "use_bias": True,
        "norm_type": "layer_norm", "normalize_embedding": True, "scale_embedding": False, "rotary_value": False,
    }  # fmt: skip
    yield from (f"{name}={getattr(config, name)}" for name, value in needed.items() if getattr(config, name) != value)
    if config.hidden_act not in _ACTIVATIONS:
        yield f"hidden_act={config.hidden_act}"
    if not issubclass(ATTENTION_BACKENDS[config.attention_backend], SoftmaxAttention):
        yield f"attention_backend={config.attention_backend}"
    if has_windows(config):
        yield f"local_attention={config.local_attention}"
    assert config.position is not None
    if (name := config.position["name"]) != "rope":
        yield f"position={name}"
    elif (band := config.position.get("frequency_band", "all")) != "all":
        yield f"position.frequency_band={band}"


def _tokenizer_misfits(tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    """Names what llama.cpp's ``bert`` tokenizer would do in another way."""
    try:
        parts = _parts(tokenizer)
    except Exception:  # the library raises nothing narrower
        yield f"a tokenizer that splits words in Python ({type(tokenizer).__name__})"
        return
    needed = {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
    found = {part: (parts[part] or {}).get("type") for part in needed}
    if found != needed:
        yield f"a tokenizer of {', '.join(map(str, found.values()))}"
        return
    if not (parts["normalizer"]["clean_text"] and parts["normalizer"]["handle_chinese_chars"]):
        yield "a normalizer that keeps control characters or Chinese words"
    if tokenizer("")["input_ids"] != [tokenizer.cls_token_id, tokenizer.sep_token_id]:
        yield "texts without [CLS] and [SEP]"
    yield from (f"the added token '{token}'" for token in tokenizer.added_tokens_decoder.values() if not token.special)


def _add_sizes(writer: Any, model: RoFormerModel) -> None:
    config = model.config
    position: Any = model.position  # rope: anything else was refused
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_token_type_count(max(config.type_vocab_size, 1))  # llama.cpp adds the first type to all tokens
    writer.add_rope_dimension_count(position.rotary_size)
    writer.add_rope_freq_base(position.rope_theta)


def _add_vocabulary(writer: Any, tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
    """Adds a token for each row of the embedding, also for rows that no text leads to."""
    from gguf import TokenType  # optional

    parts = _parts(tokenizer)
    continued = parts["model"]["continuing_subword_prefix"]
    texts, kinds = [f"[unused row {row}]" for row in range(rows)], [TokenType.UNUSED] * rows
    for token, row in tokenizer.get_vocab().items():
        kinds[row] = TokenType.CONTROL if row in tokenizer.all_special_ids else TokenType.NORMAL
        is_word = kinds[row] == TokenType.NORMAL and not token.startswith(continued)
        texts[row] = _WORD + token if is_word else token.removeprefix(continued)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    writer.add_eos_token_id(tokenizer.sep_token_id)
    writer.add_sep_token_id(tokenizer.sep_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_mask_token_id(tokenizer.mask_token_id)
    lowercase, strip_accents = (parts["normalizer"][name] for name in ("lowercase", "strip_accents"))
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    writer.add_bool("tokenizer.ggml.normalizer.strip_accents", lowercase if strip_accents is None else strip_accents)


def _parts(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Returns what tokenizer.json holds."""
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return parts
