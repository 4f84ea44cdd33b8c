"""Masked language modelling on packed documents (Devlin et al. 2019; RoFormer paper, section 4.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, TokenMasker, pack
from roformer.data.packing import plan_rows
from roformer.data.preprocess import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM
from roformer.model.loss import IGNORE
from roformer.tasks._base import TASKS, Batch, Task

EVALUATION_SEED = 2104_09864  # one set of masks for every model that is ever compared
Piece: TypeAlias = tuple[IntArray, IntArray]
"""What the model sees of a piece, and its labels; both (length,)."""

_TRAINING, _EVALUATION = 0, 1  # keeps the two streams of random numbers apart


@TASKS.register("mlm")
class MaskedLanguageModelling(Task):
    """Predicts 15 % of the tokens from the rest.

    Args:
        sequence_length: tokens in a row, special ones included.
        mask_probability: share of the ordinary tokens to predict.
        max_eval_rows: rows of the validation and test split that are looked at, spread evenly over the corpus.

    Raises:
        UserError: if the probability is not in (0, 1), no row is to be evaluated, or a split is too small.
    """

    model_class = RoFormerForMaskedLM
    best_metric = "validation_loss"
    greater_is_better = False

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        sequence_length: int,
        mask_probability: float,
        max_eval_rows: int,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        if corpus.texts > 1:
            raise UserError("masked language modelling needs documents of one text: name one data.text_column")
        if not 0 < mask_probability < 1:
            raise UserError(f"task.mask_probability must lie between 0 and 1, got {mask_probability}")
        if max_eval_rows < 1:
            raise UserError(f"task.max_eval_rows must be at least 1, got {max_eval_rows}")
        self.sequence_length = sequence_length
        self.max_eval_rows = max_eval_rows
        self.masker = TokenMasker(tokenizer, mask_probability=mask_probability)
        self.plans = {
            name: plan_rows(split.offsets, sequence_length=sequence_length) for name, split in corpus.splits.items()
        }
        for name, plan in self.plans.items():
            if not len(plan):
                raise UserError(f"the {name} split has no tokens; give more text or change data.{name}_fraction")
        self.rows = len(self.plans["train"])

    def model_settings(self) -> dict[str, Any]:
        return {}

    def num_items(self, step: int, batch_size: int) -> int:
        plan = self.plans["train"]
        lengths = (np.diff(plan.row(row)).sum() for row in self._rows(step, batch_size))
        return sum(self.masker.count(int(length)) for length in lengths)

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        rows = list(enumerate(self._rows(step, batch_size)))[share::shares]
        return self.collate(
            piece
            for place, row in rows
            for piece in self._masked_row("train", row, np.random.default_rng([self.seed, _TRAINING, step, place]))
        )

    def _masked_row(self, split: str, row: int, rng: np.random.Generator) -> list[Piece]:
        """Returns the pieces of a row, their tokens masked as one."""
        tokens, spans = self.corpus.splits[split].tokens, self.plans[split].row(row)
        visible, labels = self.mask(np.concatenate([tokens[start:stop] for start, stop in spans]), rng)
        bounds = np.cumsum(spans[:, 1] - spans[:, 0])[:-1]
        return [self.frame(*piece) for piece in zip(np.split(visible, bounds), np.split(labels, bounds), strict=True)]

    def mask(self, original: IntArray, rng: np.random.Generator) -> Piece:
        """Returns what the model sees of (length,) tokens, and the labels to predict."""
        original = original.astype(np.int64)
        chosen = self.masker.choose(len(original), rng)
        visible, labels = original.copy(), np.full_like(original, IGNORE)
        visible[chosen] = self.masker.corrupt(original[chosen], rng)
        labels[chosen] = original[chosen]
        return visible, labels

    def frame(self, visible: IntArray, labels: IntArray) -> Piece:
        """Puts [CLS] and [SEP], which are not predicted, around a piece: (length,) -> (length + 2,)."""
        inside = np.concatenate(([self.tokenizer.cls_token_id], visible, [self.tokenizer.sep_token_id]))
        return inside, np.concatenate(([IGNORE], labels, [IGNORE]))

    def collate(self, pieces: Iterable[Piece]) -> Batch:
        """Lays pieces end to end, longest first: attention takes pieces of one length as one batch."""
        ordered = sorted(pieces, key=lambda piece: -len(piece[0]))
        labels = torch.from_numpy(np.concatenate([labels for _, labels in ordered]))[None]
        inputs = pack([input_ids for input_ids, _ in ordered])
        return Batch({**inputs, "labels": labels, "sparse_prediction": True}, inputs["input_ids"].shape[1])

    def evaluation_batches(self, split: str, batch_tokens: int) -> Iterator[Batch]:
        """Yields rows of a split in batches of about so many tokens, masked once for all models."""
        rows = spread(len(self.plans[split]), self.max_eval_rows)
        size = max(1, batch_tokens // self.sequence_length)
        for start in range(0, len(rows), size):
            yield self.collate(
                piece
                for row in rows[start : start + size]
                for piece in self._masked_row(split, row, np.random.default_rng([EVALUATION_SEED, _EVALUATION, row]))
            )

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Returns the loss, in nats a predicted token, and the accuracy of a split."""
        loss, accuracy, _ = score_batches(model, self.evaluation_batches(split, batch_tokens))
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}


def spread(count: int, limit: int) -> list[int]:
    """Returns at most ``limit`` of the numbers below ``count``, evenly spread: corpora are sorted by where they come
    from, so that their first documents are no fair sample."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int).tolist()


def score_batches(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float, int]:
    """Returns the loss in nats a predicted token, the accuracy, and the number of predicted tokens."""
    tokens = score_tokens(model, batches)
    return float(tokens.losses.mean()), float(tokens.correct.mean()), len(tokens.losses)


@dataclass(frozen=True)
class TokenScores:
    """Of each predicted token, in the order of the batches: (predicted,) each.

    Attributes:
        losses: in nats.
        correct: whether the token is the most probable one.
        position_ids: its place in its document, from 0, [CLS] included.
    """

    losses: NDArray[np.float64]
    correct: NDArray[np.bool_]
    position_ids: NDArray[np.int64]


@torch.no_grad()
def score_tokens(model: nn.Module, batches: Iterable[Batch]) -> TokenScores:
    """Returns loss, correctness and position of every predicted token; the model is in evaluation mode meanwhile."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: list[list[torch.Tensor]] = [[], [], []]  # fetched at the end: no batch waits for the device
    for batch in batches:
        inputs = {key: value.to(device) if torch.is_tensor(value) else value for key, value in batch.inputs.items()}
        logits = model(**inputs).logits.float()
        chosen = inputs["labels"] != IGNORE
        labels, bounds = inputs["labels"][chosen], inputs["cu_seqlens"]
        found[0].append(F.cross_entropy(logits, labels, reduction="none"))
        found[1].append(logits.argmax(-1) == labels)
        places = chosen[0].nonzero()[:, 0]
        found[2].append(places - bounds[torch.searchsorted(bounds, places, right=True) - 1])
    model.train(was_training)
    losses, correct, position_ids = (torch.cat(each).cpu() for each in found)
    return TokenScores(losses.double().numpy(), correct.numpy(), position_ids.numpy())
