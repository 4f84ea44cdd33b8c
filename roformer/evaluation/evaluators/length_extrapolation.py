"""MLM loss beyond the training length, on the same predicted tokens at every length.

A longer window shows a token more of its context, so that losses at different lengths compare only if the tokens to
predict are the same. Windows of the greatest length are cut from long test documents, masked once, and shown whole,
in halves, in quarters: what changes is the context alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from roformer.data.packing import SPECIAL_TOKENS
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks import Batch
from roformer.tasks.mlm import EVALUATION_SEED, MaskedLanguageModelling, Piece, score_batches, spread

_MAX_WINDOWS = 128
_STREAM = 2  # of random numbers; the task's own evaluation uses another


@EVALUATORS.register("length_extrapolation")
class LengthExtrapolation(Evaluator):
    """Loss at 1x, 2x, 4x, ... the training length; nothing where no test document is long enough, or no table."""

    version = 1
    tasks = ("mlm",)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        task = loaded.task
        assert isinstance(task, MaskedLanguageModelling)
        factors = sorted(self.config.length_factors)
        piece = task.sequence_length - SPECIAL_TOKENS
        windows = _masked_windows(task, piece * factors[-1])
        limit = loaded.model.roformer.position.max_length
        by_length = {}
        for factor in factors if windows else []:
            if limit and piece * factor + SPECIAL_TOKENS > limit:
                continue
            batches = _batches(task, windows, piece * factor, self.config.batch_tokens)
            loss, _, predicted = score_batches(loaded.model, batches)
            by_length[str(task.sequence_length * factor)] = {"loss": loss, "predicted_tokens": predicted}
        return {"windows": len(windows), "by_length": by_length}


def _masked_windows(task: MaskedLanguageModelling, length: int) -> list[Piece]:
    """Returns up to ``_MAX_WINDOWS`` (visible, labels) windows of that many tokens, one of each test document."""
    split = task.corpus.splits["test"]
    long_enough = np.flatnonzero(np.diff(split.offsets) >= length)
    windows = []
    for index in long_enough[spread(len(long_enough), _MAX_WINDOWS)].tolist():
        rng = np.random.default_rng([EVALUATION_SEED, _STREAM, index])
        windows.append(task.mask(split.document(index)[:length], rng))
    return windows


def _batches(task: MaskedLanguageModelling, windows: list[Piece], length: int, batch_tokens: int) -> Iterator[Batch]:
    """Yields the windows cut into pieces of so many tokens, [CLS] and [SEP] around each."""
    pieces = [
        task.frame(visible[start : start + length], labels[start : start + length])
        for visible, labels in windows
        for start in range(0, len(visible), length)
    ]
    size = max(1, batch_tokens // (length + SPECIAL_TOKENS))
    for start in range(0, len(pieces), size):
        yield task.collate(pieces[start : start + size])
