"""Language modeling on rows of packed documents, and the loss and accuracy of predicted tokens."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, PackedShape, pack
from roformer.data.packing import plan_rows
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.ops.cross_entropy import IGNORE_INDEX, token_losses
from roformer.runtime.inference import evaluating
from roformer.tasks._base import Batch, Task

EVALUATION_SEED = 2104_09864  # the same masks for every model
Segment: TypeAlias = tuple[IntArray, IntArray]
"""Input ids of a segment and its labels; both (length,)."""

_TRAINING, _EVALUATION = 0, 1  # separate streams of random numbers


class LanguageModeling(Task):
    """Predicts tokens of packed documents.

    Args:
        sequence_length: maximum number of tokens in a row, special tokens included.
        max_eval_rows: number of rows to evaluate, evenly spaced in the validation or test split.

    Raises:
        UserError: if ``max_eval_rows`` is below 1, documents have several texts, or a split has no tokens.
    """

    family = "language_modeling"
    best_metric = "validation_loss"
    greater_is_better = False
    is_bidirectional: ClassVar[bool]
    """Whether the model sees the tokens after a predicted one."""

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
        self.max_tokens = self.sequence_length = sequence_length
        self.max_eval_rows = max_eval_rows
        self.plans = {
            name: plan_rows(split.offsets, sequence_length=sequence_length) for name, split in corpus.splits.items()
        }
        for name, plan in self.plans.items():
            if not len(plan):
                raise UserError(f"the {name} split has no tokens; give more text or change data.{name}_fraction")
        self.rows = len(self.plans["train"])

    @abstractmethod
    def num_targets(self, spans: NDArray[np.int64]) -> int:
        """Returns the number of predicted tokens in a training row with these (segments, 2) spans."""

    @property
    @abstractmethod
    def max_targets(self) -> int:
        """The largest number of predicted tokens in a row."""

    @abstractmethod
    def make_labels(self, original: IntArray, rng: np.random.Generator) -> Segment:
        """Returns input ids and labels for (length,) tokens without special tokens."""

    @abstractmethod
    def add_special_tokens(self, visible: IntArray, labels: IntArray, *, closes_document: bool = False) -> Segment:
        """Returns a segment with its special tokens.

        Args:
            visible, labels: input ids and labels, (length,).
            closes_document: whether the document ends with this segment.
        """

    def num_items(self, step: int, batch_size: int) -> int:
        plan = self.plans["train"]
        return sum(self.num_targets(plan.row(row)) for row in self.batch_row_numbers(step, batch_size))

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        rows = list(enumerate(self.batch_row_numbers(step, batch_size)))[share::shares]
        return self.collate(
            segment
            for place, row in rows
            for segment in self._labeled_row("train", row, np.random.default_rng([self.seed, _TRAINING, step, place]))
        )

    def packed_shape(self, sequences: int) -> PackedShape:
        segments = np.sort(np.diff(self.plans["train"].row_offsets))[-sequences:].sum()
        return PackedShape(
            tokens=sequences * self.sequence_length,
            documents=int(segments) + sequences,  # the room that rows leave is less than so many rows
            predictions=sequences * self.max_targets,
            longest=self.sequence_length,
        )

    def _labeled_row(self, split: str, row: int, rng: np.random.Generator) -> list[Segment]:
        """Returns the segments of a row; labels are drawn for the row as a whole."""
        tokens, spans = self.corpus.splits[split].tokens, self.plans[split].row(row)
        visible, labels = self.make_labels(np.concatenate([tokens[start:stop] for start, stop in spans]), rng)
        bounds = np.cumsum(spans[:, 1] - spans[:, 0])[:-1]
        segments = zip(np.split(visible, bounds), np.split(labels, bounds), strict=True)
        return [
            self.add_special_tokens(*segment, closes_document=closes)
            for segment, closes in zip(segments, self.closes_document(split, spans), strict=True)
        ]

    def closes_document(self, split: str, spans: NDArray[np.int64]) -> list[bool]:
        """Returns for each of (segments, 2) spans whether its document ends with it."""
        offsets = self.corpus.splits[split].offsets
        return (offsets[np.searchsorted(offsets, spans[:, 1])] == spans[:, 1]).tolist()

    def collate(self, segments: Iterable[Segment]) -> Batch:
        """Concatenates segments, longest first: attention batches segments of equal length."""
        ordered = sorted(segments, key=lambda segment: -len(segment[0]))
        labels = np.concatenate([labels for _, labels in ordered])
        # the outputs that are needed: of the predicted tokens, or of those before them
        places = np.flatnonzero(labels != IGNORE_INDEX) - (not self.is_bidirectional)
        inputs = {
            **pack([input_ids for input_ids, _ in ordered]),
            "labels": torch.from_numpy(labels)[None],
            "query_indices": torch.from_numpy(places),
        }
        return Batch(inputs, len(labels))

    def evaluation_batches(self, split: str, batch_tokens: int) -> Iterator[Batch]:
        """Yields rows of a split in batches of about ``batch_tokens`` tokens, with the same labels for every model."""
        rows = evenly_spaced(len(self.plans[split]), self.max_eval_rows)
        size = max(1, batch_tokens // self.sequence_length)
        for start in range(0, len(rows), size):
            seeds = [(row, [EVALUATION_SEED, _EVALUATION, row]) for row in rows[start : start + size]]
            yield self.collate(
                segment
                for row, seed in seeds
                for segment in self._labeled_row(split, row, np.random.default_rng(seed))
            )

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Returns the loss (nats per predicted token) and the accuracy of a split."""
        loss, accuracy, _ = score_batches(model, self.evaluation_batches(split, batch_tokens))
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}


def evenly_spaced(count: int, limit: int) -> list[int]:
    """Returns at most ``limit`` evenly spaced numbers below ``count``.

    Corpora are often sorted by origin, so their first documents are not a fair sample.
    """
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int).tolist()


def score_batches(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float, int]:
    """Returns the loss (nats per predicted token), the accuracy, and the number of predicted tokens."""
    losses, correct = [], []
    for _, loss, right in predictions(model, batches):
        losses.append(loss)
        correct.append(right)
    found = torch.cat(losses).cpu().double()
    return float(found.mean()), float(torch.cat(correct).cpu().double().mean()), len(found)


def predictions(model: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Mapping[str, Any], Tensor, Tensor]]:
    """Runs the model in evaluation mode.

    Yields:
        For each batch its inputs on the host, and of its predicted tokens, (predicted,) each, on the model's device
        the losses in nats and whether the label is the most probable token.
    """
    with evaluating(model) as on_device:
        for batch in batches:
            labels = batch.inputs["labels"]
            predicted = on_device({"labels": labels[labels != IGNORE_INDEX]})["labels"]
            yield batch.inputs, *token_losses(model(**on_device(batch.inputs)).logits, predicted)


@dataclass(frozen=True)
class TokenScores:
    """Scores of predicted tokens in batch order, (predicted,) each.

    Attributes:
        losses: cross-entropy in nats.
        correct: whether the label is the most probable token.
        position_ids: position in the segment, from 0 for [CLS].
    """

    losses: NDArray[np.float64]
    correct: NDArray[np.bool_]
    position_ids: NDArray[np.int64]


def score_tokens(model: nn.Module, batches: Iterable[Batch]) -> TokenScores:
    """Returns loss, correctness and position of every predicted token of packed segments."""
    found: list[list[Tensor]] = [[], [], []]  # moved to the CPU at the end, so no batch waits for the device
    for inputs, loss, right in predictions(model, batches):
        bounds, places = inputs["cu_seqlens"], (inputs["labels"][0] != IGNORE_INDEX).nonzero()[:, 0]
        found[0].append(loss)
        found[1].append(right)
        found[2].append(places - bounds[torch.searchsorted(bounds, places, right=True) - 1])
    losses, correct, position_ids = (torch.cat(each).cpu() for each in found)
    return TokenScores(losses.double().numpy(), correct.numpy(), position_ids.numpy())
