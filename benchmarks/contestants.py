"""Who is measured: our model and its peers, all of the same sizes, and how each takes its documents."""

from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
)
from transformers import RoFormerConfig as StockRoFormerConfig
from transformers import (
    RoFormerForMaskedLM as StockRoFormerForMaskedLM,
)

from roformer import RoFormerForMaskedLM, RoFormerLabConfig
from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import TrainConfig
from roformer.data.collators import IntArray, pack
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.position import POSITION_ENCODINGS

GLOBAL_EVERY = 3  # with windows, layer 0 and every third one attend to all tokens, as ModernBERT's do
Inputs = dict[str, Any]
Documents = Sequence[tuple[IntArray, IntArray]]
"""Tokens and labels of each document, both (length,)."""


@dataclass(frozen=True)
class Sizes:
    """What all contestants have in common.

    Attributes:
        length: of the longest sequence, in tokens.
        local_attention: tokens that two of three layers attend to in addition to each token itself, half of them to
            each side, for contestants that have such windows; None: all layers attend to all tokens.
    """

    hidden_size: int
    layers: int
    heads: int
    vocabulary: int
    length: int
    dropout: float
    local_attention: int | None = None

    @property
    def windows(self) -> list[int | None]:
        """How many tokens to each side each layer attends to; None for all."""
        is_local = [self.local_attention is not None and layer % GLOBAL_EVERY > 0 for layer in range(self.layers)]
        return [(self.local_attention or 0) // 2 if local else None for local in is_local]


@dataclass(frozen=True)
class Contestant:
    """A model and how it takes a batch.

    Attributes:
        build: from sizes and an attention backend (which only ours reads) to a model whose ``forward`` returns an
            object with ``loss``, and whose ``base_model`` is the encoder.
        collate: from documents to the arguments of ``forward``.
    """

    build: Callable[[Sizes, str], nn.Module]
    collate: Callable[[Documents], Inputs]


def padded(documents: Documents) -> Inputs:
    """(B, L), padded to the longest, with a mask only where there is padding: without one peers are faster."""
    tokens, labels = ([torch.from_numpy(each) for each in column] for column in zip(*documents, strict=True))
    inputs = {"input_ids": pad_sequence(tokens, batch_first=True)}
    inputs["labels"] = pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX)
    lengths = torch.tensor([len(each) for each in tokens])
    if lengths.min() < lengths.max():
        inputs["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return inputs


def packed(documents: Documents) -> Inputs:
    """(1, T), as our tasks lay them: the longest first."""
    ordered = sorted(documents, key=lambda document: -len(document[0]))
    labels = np.concatenate([labels for _, labels in ordered])
    return {
        **pack([tokens for tokens, _ in ordered]),
        "labels": torch.from_numpy(labels)[None],
        "query_indices": torch.from_numpy(np.flatnonzero(labels != IGNORE_INDEX)),
    }


def _shared(sizes: Sizes) -> dict[str, Any]:
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden_size,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "max_position_embeddings": sizes.length,
        "pad_token_id": 0,
    }


def _bert_like(sizes: Sizes) -> dict[str, Any]:
    return {
        **_shared(sizes),
        "intermediate_size": 4 * sizes.hidden_size,
        "hidden_dropout_prob": sizes.dropout,
        "attention_probs_dropout_prob": sizes.dropout,
    }


def _ours(encoding: str, attention: str | None = None) -> Contestant:
    """Ours with a position encoding as its yaml has it, and one attention backend, or the one of the case."""

    def build(sizes: Sizes, backend: str) -> nn.Module:
        position = TrainConfig.compose(f"position={encoding}").position
        windows: dict[str, Any] = {}
        if sizes.local_attention is not None:
            windows = {"local_attention": sizes.local_attention, "global_attn_every_n_layers": GLOBAL_EVERY}
        return RoFormerForMaskedLM(
            RoFormerLabConfig(
                **_bert_like(sizes), **windows, position=position, attention_backend=attention or backend
            )
        )

    return Contestant(build, packed)


def _library(sizes: Sizes, _: str) -> nn.Module:
    """Ours as a person makes it in Python: nothing is chosen."""
    return RoFormerForMaskedLM(RoFormerLabConfig(**_bert_like(sizes)))


def _stock(sizes: Sizes, _: str) -> nn.Module:
    return StockRoFormerForMaskedLM(StockRoFormerConfig(**_bert_like(sizes)))


def _bert(sizes: Sizes, _: str) -> nn.Module:
    return BertForMaskedLM(BertConfig(**_bert_like(sizes), attn_implementation="sdpa"))


def _modernbert(sizes: Sizes, _: str) -> nn.Module:
    """Its feed-forward layer has three matrices where BERT's has two: two thirds of the width make as many weights.

    All layers see the whole sequence, as everyone else's do, except where the sizes have windows, which are its own.
    """
    windows = {} if sizes.local_attention is None else {"local_attention": sizes.local_attention}
    config = ModernBertConfig(
        **_shared(sizes), intermediate_size=round(8 * sizes.hidden_size / 3 / 8) * 8, sparse_prediction=True,
        attention_dropout=sizes.dropout, embedding_dropout=sizes.dropout, mlp_dropout=sizes.dropout,
        global_attn_every_n_layers=GLOBAL_EVERY if windows else 1, **windows, attn_implementation="sdpa",
        bos_token_id=2, cls_token_id=2, eos_token_id=3, sep_token_id=3,
    )  # fmt: skip
    return ModernBertForMaskedLM(config)


class _XTransformers(nn.Module):
    """x-transformers' encoder with rotary positions and flash attention; as BERT and stock RoFormer it computes logits
    for all tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        from x_transformers import Encoder, TransformerWrapper

        self.model = TransformerWrapper(
            num_tokens=sizes.vocabulary, max_seq_len=sizes.length, use_abs_pos_emb=False, emb_dropout=sizes.dropout,
            tie_embedding=True,
            attn_layers=Encoder(
                dim=sizes.hidden_size, depth=sizes.layers, heads=sizes.heads, rotary_pos_emb=True, attn_flash=True,
                attn_dim_head=sizes.hidden_size // sizes.heads, attn_dropout=sizes.dropout, ff_dropout=sizes.dropout,
            ),
        )  # fmt: skip

    def forward(self, input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None) -> Any:
        mask = None if attention_mask is None else attention_mask.bool()
        logits = self.model(input_ids, mask=mask)
        return SimpleNamespace(loss=F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()))

    def base_model(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        mask = None if attention_mask is None else attention_mask.bool()
        return self.model(input_ids, mask=mask, return_embeddings=True)


OURS = "roformer (ours)"
LIBRARY = "roformer (ours, library defaults)"
WITHOUT_POSITIONS = "ours, none"
STOCK = "RoFormer, transformers"
MODERNBERT = "ModernBERT, transformers (SDPA, sparse)"
BERT = "BERT, transformers (SDPA)"
X_TRANSFORMERS = "x-transformers (rotary, flash)"
CONTESTANTS = {
    OURS: _ours("rope"),
    LIBRARY: Contestant(_library, padded),
    STOCK: Contestant(_stock, padded),
    BERT: Contestant(_bert, padded),
    MODERNBERT: Contestant(_modernbert, padded),
    X_TRANSFORMERS: Contestant(lambda sizes, _: _XTransformers(sizes), padded),
}
PEERS = [name for name in CONTESTANTS if name not in (OURS, LIBRARY)]
FASTEST_PEERS = [STOCK, MODERNBERT]  # in their best setting, in docs/performance.md
ENCODINGS = {f"ours, {encoding}": _ours(encoding) for encoding in POSITION_ENCODINGS if encoding != "rope"}
LINEAR = {
    f"ours, {name}": _ours("rope", name)
    for name in ATTENTION_BACKENDS
    if not issubclass(ATTENTION_BACKENDS[name], SoftmaxAttention)
}
EVERYONE = ChainMap(CONTESTANTS, ENCODINGS, LINEAR)


def is_missing(name: str) -> str | None:
    """Returns why somebody cannot be measured on this machine, or None."""
    if name == X_TRANSFORMERS and find_spec("x_transformers") is None:
        return "x-transformers is not installed: pip install x-transformers"
    return None
