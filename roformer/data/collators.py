"""From token ids to the tensors of a batch: documents concatenated, without padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from roformer.ops.cross_entropy import IGNORE_INDEX

IntArray = NDArray[np.integer[Any]]


class PackedInputs(TypedDict):
    """Inputs of a model: ``input_ids`` (1, T), ``cu_seqlens`` (documents + 1,), and the same as ``document_lengths``,
    which Python knows without a look at the device."""

    input_ids: Tensor
    cu_seqlens: Tensor
    document_lengths: list[int]


def pack(documents: Sequence[IntArray]) -> PackedInputs:
    """Concatenates documents, which already contain their special tokens."""
    lengths = [len(document) for document in documents]
    return {
        "input_ids": torch.from_numpy(np.concatenate(documents).astype(np.int64))[None],
        "cu_seqlens": torch.tensor([0, *np.cumsum(lengths).tolist()]),
        "document_lengths": lengths,
    }


@dataclass(frozen=True)
class PackedShape:
    """Sizes that packed batches of language modeling are filled up to, so that no step needs another graph or kernel.

    Attributes:
        tokens: in a batch.
        documents: in a batch, those of the padding included.
        predictions: in a batch.
        longest: tokens in a document of padding at most.
    """

    tokens: int
    documents: int
    predictions: int
    longest: int

    def fill(self, inputs: Mapping[str, Any], *, pad_token_id: int) -> dict[str, Any]:
        """Adds to the inputs of a model what changes no loss: documents of padding, empty ones, and predictions of a
        token without a label, the last one."""
        lengths, total = inputs["document_lengths"], inputs["input_ids"].shape[1]
        padding, predicted = self.tokens - total, inputs["query_indices"]
        whole, rest = divmod(padding, self.longest)
        lengths = [*lengths, *[self.longest] * whole, *[rest] * (rest > 0)]
        lengths += [0] * (self.documents - len(lengths))
        more = self.predictions - len(predicted)
        return {
            **inputs,
            "input_ids": F.pad(inputs["input_ids"], (0, padding), value=pad_token_id),
            "labels": F.pad(inputs["labels"], (0, padding), value=IGNORE_INDEX),
            "cu_seqlens": torch.tensor([0, *np.cumsum(lengths).tolist()]),
            "document_lengths": lengths,
            "query_indices": F.pad(predicted, (0, more), value=self.tokens - 1),
        }


def split_texts(document: IntArray, tokenizer: PreTrainedTokenizerFast) -> list[IntArray]:
    """Splits the tokens of a document at each [SEP] into the tokens of its texts."""
    bounds = np.flatnonzero(document == tokenizer.sep_token_id)
    return [part[bool(number) :] for number, part in enumerate(np.split(document, bounds))]


class TokenMasker:
    """Selects tokens to predict: 80 % become [MASK], 10 % a random token, 10 % stay (Devlin et al. 2019, A.1).

    As in BERT, exactly max(1, round(p n)) of the n ordinary tokens of a row are selected, so the number of predictions
    in a batch is known before any draw. [UNK] counts as an ordinary token, as in BERT.

    Args:
        tokenizer: its special tokens are never used as random replacements.
        mask_probability: p.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, mask_probability: float) -> None:
        self.mask_probability = mask_probability
        self.mask_token_id = int(tokenizer.mask_token_id)
        special = np.array(sorted(tokenizer.all_special_ids))
        self.ordinary = np.setdiff1d(list(tokenizer.get_vocab().values()), special)

    def num_targets(self, ordinary_tokens: int) -> int:
        """Returns the number of tokens to predict among that many ordinary tokens."""
        return max(1, round(self.mask_probability * ordinary_tokens)) if ordinary_tokens else 0

    def choose(self, ordinary_tokens: int, rng: np.random.Generator) -> IntArray:
        """Returns the sorted indices of the tokens to predict among that many ordinary tokens."""
        return np.sort(rng.choice(ordinary_tokens, self.num_targets(ordinary_tokens), replace=False))

    def corrupt(self, tokens: IntArray, rng: np.random.Generator) -> IntArray:
        """Returns the (length,) input tokens that replace the tokens to predict."""
        fate = rng.random(len(tokens))
        random_tokens = rng.choice(self.ordinary, len(tokens))
        return np.where(fate < 0.8, self.mask_token_id, np.where(fate < 0.9, random_tokens, tokens))
