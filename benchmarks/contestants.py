"""Who is measured: our model and its peers, all of the same sizes, and how each takes its documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from roformer.config import TrainConfig
from roformer.data.collators import IntArray, pack
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.position import POSITION_ENCODINGS

Inputs = dict[str, Any]
Documents = Sequence[tuple[IntArray, IntArray]]
"""Tokens and labels of each document, both (length,)."""


@dataclass(frozen=True)
class Sizes:
    """What all contestants have in common; ``length`` is the longest sequence."""

    hidden_size: int
    layers: int
    heads: int
    vocabulary: int
    length: int
    dropout: float


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
    labels = torch.from_numpy(np.concatenate([labels for _, labels in ordered]))[None]
    return {**pack([tokens for tokens, _ in ordered]), "labels": labels}


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


class _Sparse(RoFormerForMaskedLM):
    """Ours as its trainer runs it."""

    def forward(self, **inputs: Any) -> Any:
        return super().forward(**inputs, sparse_prediction=True)


def _ours(encoding: str) -> Contestant:
    """Ours with a position encoding as its yaml has it."""

    def build(sizes: Sizes, backend: str) -> nn.Module:
        position = TrainConfig.compose(f"position={encoding}").position
        return _Sparse(RoFormerLabConfig(**_bert_like(sizes), position=position, attention_backend=backend))

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

    All layers see the whole sequence, as everyone else's do; on CPUs its local layers need a mask and are slower.
    """
    config = ModernBertConfig(
        **_shared(sizes), intermediate_size=round(8 * sizes.hidden_size / 3 / 8) * 8, sparse_prediction=True,
        attention_dropout=sizes.dropout, embedding_dropout=sizes.dropout, mlp_dropout=sizes.dropout,
        global_attn_every_n_layers=1, attn_implementation="sdpa",
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
CONTESTANTS = {
    OURS: _ours("rope"),
    LIBRARY: Contestant(_library, padded),
    STOCK: Contestant(_stock, padded),
    "BERT, transformers (SDPA)": Contestant(_bert, padded),
    MODERNBERT: Contestant(_modernbert, padded),
    "x-transformers (rotary, flash)": Contestant(lambda sizes, _: _XTransformers(sizes), padded),
}
PEERS = [name for name in CONTESTANTS if name not in (OURS, LIBRARY)]
ENCODINGS = {f"ours, {encoding}": _ours(encoding) for encoding in POSITION_ENCODINGS if encoding != "rope"}
