"""What the language models share: rows of packed documents; and, with translation, the loss of predicted tokens."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, pack
from roformer.data.packing import plan_rows
from roformer.data.preprocess import TokenizedCorpus
from roformer.errors import UserError
from roformer.ops.cross_entropy import IGNORE_INDEX, token_losses
from roformer.tasks._base import Batch, Task

EVALUATION_SEED = 2104_09864  # one set of masks for every model that is ever compared
Piece: TypeAlias = tuple[IntArray, IntArray]
"""What the model sees of a piece, and its labels; both (length,)."""

_TRAINING, _EVALUATION = 0, 1  # keeps the two streams of random numbers apart


class LanguageModeling(Task):
    """Predicts tokens of packed documents.

    Args:
        sequence_length: tokens in a row, special ones included.
        max_eval_rows: rows of the validation and test split that are looked at, spread evenly over the corpus.

    Raises:
        UserError: if no row is to be evaluated, a document has several texts, or a split is too small.
    """

    family = "language_modeling"
    unit: ClassVar[str]
    """What one prediction is about."""
    best_metric = "validation_loss"
    greater_is_better = False
    sees_both_sides: ClassVar[bool]
    """Whether tokens after a predicted one help to predict it."""

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        sequence_length: int,
        max_eval_rows: int,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        if corpus.texts > 1:
            raise UserError(
                "language modeling needs documents of one text: choose data=text, or name one data.text_column"
            )
        if max_eval_rows < 1:
            raise UserError(f"task.max_eval_rows must be at least 1, got {max_eval_rows}")
        self.sequence_length = sequence_length
        self.max_eval_rows = max_eval_rows
        self.plans = {
            name: plan_rows(split.offsets, sequence_length=sequence_length) for name, split in corpus.splits.items()
        }
        for name, plan in self.plans.items():
            if not len(plan):
                raise UserError(f"the {name} split has no tokens; give more text or change data.{name}_fraction")
        self.rows = len(self.plans["train"])

    @abstractmethod
    def count(self, spans: NDArray[np.int64]) -> int:
        """Returns how many tokens are predicted in a training row with these (pieces, 2) spans."""

    @abstractmethod
    def label(self, original: IntArray, rng: np.random.Generator) -> Piece:
        """Returns what the model sees of (length,) tokens, and the labels to predict."""

    @abstractmethod
    def frame(self, visible: IntArray, labels: IntArray, *, ends: bool = False) -> Piece:
        """Puts the special tokens around a piece, which ``ends`` with its document or does not."""

    def num_items(self, step: int, batch_size: int) -> int:
        plan = self.plans["train"]
        return sum(self.count(plan.row(row)) for row in self._rows(step, batch_size))

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        rows = list(enumerate(self._rows(step, batch_size)))[share::shares]
        return self.collate(
            piece
            for place, row in rows
            for piece in self._labelled_row("train", row, np.random.default_rng([self.seed, _TRAINING, step, place]))
        )

    def _labelled_row(self, split: str, row: int, rng: np.random.Generator) -> list[Piece]:
        """Returns the pieces of a row, their labels drawn as one."""
        tokens, spans = self.corpus.splits[split].tokens, self.plans[split].row(row)
        visible, labels = self.label(np.concatenate([tokens[start:stop] for start, stop in spans]), rng)
        bounds = np.cumsum(spans[:, 1] - spans[:, 0])[:-1]
        pieces = zip(np.split(visible, bounds), np.split(labels, bounds), self.ends(split, spans), strict=True)
        return [self.frame(*piece, ends=ends) for *piece, ends in pieces]

    def ends(self, split: str, spans: NDArray[np.int64]) -> list[bool]:
        """Returns of (pieces, 2) spans which end with their document."""
        offsets = self.corpus.splits[split].offsets
        return (offsets[np.searchsorted(offsets, spans[:, 1])] == spans[:, 1]).tolist()

    def collate(self, pieces: Iterable[Piece]) -> Batch:
        """Lays pieces end to end, longest first: attention takes pieces of one length as one batch."""
        ordered = sorted(pieces, key=lambda piece: -len(piece[0]))
        labels = torch.from_numpy(np.concatenate([labels for _, labels in ordered]))[None]
        inputs = pack([input_ids for input_ids, _ in ordered])
        return Batch({**inputs, "labels": labels, "sparse_prediction": True}, inputs["input_ids"].shape[1])

    def evaluation_batches(self, split: str, batch_tokens: int) -> Iterator[Batch]:
        """Yields rows of a split in batches of about so many tokens, labelled once for all models."""
        rows = spread(len(self.plans[split]), self.max_eval_rows)
        size = max(1, batch_tokens // self.sequence_length)
        for start in range(0, len(rows), size):
            yield self.collate(
                piece
                for row in rows[start : start + size]
                for piece in self._labelled_row(split, row, np.random.default_rng([EVALUATION_SEED, _EVALUATION, row]))
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
    losses, correct = [], []
    for _, loss, right in predictions(model, batches):
        losses.append(loss)
        correct.append(right)
    found = torch.cat(losses).cpu().double()
    return float(found.mean()), float(torch.cat(correct).cpu().double().mean()), len(found)


@torch.no_grad()
def predictions(model: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Mapping[str, Any], Tensor, Tensor]]:
    """Yields of each batch its inputs, where the model is, and of its (predicted,) tokens the losses, in nats, and
    whether they are the most probable ones; the model is in evaluation mode meanwhile."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        for batch in batches:
            inputs = {name: each.to(device) if torch.is_tensor(each) else each for name, each in batch.inputs.items()}
            labels = inputs["labels"][inputs["labels"] != IGNORE_INDEX]
            yield inputs, *token_losses(model(**inputs).logits, labels)
    finally:
        model.train(was_training)


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


def score_tokens(model: nn.Module, batches: Iterable[Batch]) -> TokenScores:
    """Returns loss, correctness and position of every predicted token of packed documents."""
    found: list[list[Tensor]] = [[], [], []]  # fetched at the end: no batch waits for the device
    for inputs, loss, right in predictions(model, batches):
        bounds, places = inputs["cu_seqlens"], (inputs["labels"][0] != IGNORE_INDEX).nonzero()[:, 0]
        found[0].append(loss)
        found[1].append(right)
        found[2].append(places - bounds[torch.searchsorted(bounds, places, right=True) - 1])
    losses, correct, position_ids = (torch.cat(each).cpu() for each in found)
    return TokenScores(losses.double().numpy(), correct.numpy(), position_ids.numpy())
