"""From token numbers to the tensors of a batch: documents end to end, without padding."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

IntArray = NDArray[np.integer[Any]]


class PackedInputs(TypedDict):
    """What a model takes: ``input_ids`` (1, T) and ``cu_seqlens`` (documents + 1,)."""

    input_ids: Tensor
    cu_seqlens: Tensor


def pack(documents: Sequence[IntArray]) -> PackedInputs:
    """Lays documents, special tokens included, end to end."""
    lengths = [len(document) for document in documents]
    return {
        "input_ids": torch.from_numpy(np.concatenate(documents).astype(np.int64))[None],
        "cu_seqlens": torch.tensor([0, *np.cumsum(lengths).tolist()]),
    }


def texts_of(document: IntArray, tokenizer: PreTrainedTokenizerFast) -> list[IntArray]:
    """Returns the tokens of each text of a document of several, which are kept with [SEP] between them."""
    bounds = np.flatnonzero(document == tokenizer.sep_token_id)
    return [part[bool(number) :] for number, part in enumerate(np.split(document, bounds))]


class TokenMasker:
    """Chooses tokens to predict: 80 % become [MASK], 10 % a random token, 10 % stay (Devlin et al. 2019, A.1).

    As in BERT, a row of n ordinary tokens has exactly max(1, round(p n)) of them chosen: how many predictions a
    batch holds is then known without drawing them. [UNK] is an ordinary token here, as it is there.

    Args:
        tokenizer: tells the special tokens, which are never drawn.
        mask_probability: p.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, mask_probability: float) -> None:
        self.mask_probability = mask_probability
        self.mask_token_id = int(tokenizer.mask_token_id)
        special = np.array(sorted(tokenizer.all_special_ids))
        self.ordinary = np.setdiff1d(np.arange(len(tokenizer)), special)

    def count(self, ordinary_tokens: int) -> int:
        """Returns how many of so many ordinary tokens are chosen."""
        return max(1, round(self.mask_probability * ordinary_tokens)) if ordinary_tokens else 0

    def choose(self, ordinary_tokens: int, rng: np.random.Generator) -> IntArray:
        """Returns the sorted indices of the chosen ones among so many ordinary tokens."""
        return np.sort(rng.choice(ordinary_tokens, self.count(ordinary_tokens), replace=False))

    def corrupt(self, tokens: IntArray, rng: np.random.Generator) -> IntArray:
        """Maps chosen tokens to what the model sees in their place."""
        fate = rng.random(len(tokens))
        random_tokens = rng.choice(self.ordinary, len(tokens))
        return np.where(fate < 0.8, self.mask_token_id, np.where(fate < 0.9, random_tokens, tokens))
