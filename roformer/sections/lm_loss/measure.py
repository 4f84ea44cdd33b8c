"""Measures the test loss of one language model, as a whole and per document."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.results.bootstrap import DocumentLosses
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.lm_loss import FAMILY, Metrics
from roformer.tasks.language_modeling import LanguageModeling, evenly_spaced, predictions

_SPLIT = "test"


@EVALUATORS.register("lm_loss")
class LanguageModelLoss(Evaluator[LanguageModeling, Metrics]):
    """Loss in nats per predicted token and accuracy, on tokens that are the same for every run."""

    version = 2
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        batch_tokens = self.config.batch_tokens
        scored = predictions(run.model, run.task.evaluation_batches(_SPLIT, batch_tokens))
        losses, correct, owners = [], [], []
        for documents, (inputs, loss, right) in zip(_documents(run.task, batch_tokens), scored, strict=True):
            predicted = (inputs["labels"][0] != IGNORE_INDEX).nonzero()[:, 0]
            segment = torch.searchsorted(inputs["cu_seqlens"], predicted, right=True) - 1
            losses.append(loss)
            correct.append(right)
            owners.append(documents[segment.numpy()])
        found = torch.cat(losses).cpu().double()
        return Metrics(
            float(found.mean()),
            float(torch.cat(correct).cpu().double().mean()),
            len(found),
            run.model.num_parameters(),
            run.task.title,
            run.task.unit,
            _per_document(np.concatenate(owners), found.numpy()),
        )


def _documents(task: LanguageModeling, batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yields the document of each segment of each of the task's evaluation batches, in the order of the batch."""
    plan, offsets = task.plans[_SPLIT], task.corpus.splits[_SPLIT].offsets
    rows, size = evenly_spaced(len(plan), task.max_eval_rows), max(1, batch_tokens // task.sequence_length)
    for start in range(0, len(rows), size):
        spans = np.concatenate([plan.row(row) for row in rows[start : start + size]])
        closes = task.closes_document(_SPLIT, spans)
        lengths = [
            _framed_length(task, stop - start, closed)
            for (start, stop), closed in zip(spans.tolist(), closes, strict=True)
        ]
        longest_first = np.argsort(-np.array(lengths), kind="stable")
        yield (np.searchsorted(offsets, spans[:, 0], side="right") - 1)[longest_first]


def _framed_length(task: LanguageModeling, length: int, closes_document: bool) -> int:
    """Returns the tokens of a segment with its special ones."""
    tokens = np.zeros(length, dtype=np.int64)
    return len(task.add_special_tokens(tokens, tokens, closes_document=closes_document)[0])


def _per_document(owners: NDArray[np.int64], losses: NDArray[Any]) -> DocumentLosses:
    """Sums the losses of (predicted,) tokens by the document that each belongs to."""
    documents, place = np.unique(owners, return_inverse=True)
    return DocumentLosses(
        tuple(documents.tolist()),
        tuple(np.bincount(place, weights=losses).tolist()),
        tuple(np.bincount(place).tolist()),
    )
