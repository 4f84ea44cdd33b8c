"""Loss beyond the training length, on the same predicted tokens at every length.

A longer window shows a token more of its context, so that losses at different lengths compare only if the tokens to
predict are the same. Windows of the greatest length are cut from long test documents, labelled once, and shown whole,
in halves, in quarters: what changes is the context alone. Windows of the training length that overlap by half are what
one does without a model that reaches further; their middle counts, or with a causal model their second half.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from roformer.data.packing import FRAME_TOKENS
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks import Batch
from roformer.tasks.language_modeling import (
    EVALUATION_SEED,
    LanguageModeling,
    Segment,
    evenly_spaced,
    score_batches,
    score_tokens,
)

_MAX_WINDOWS = 128
_STREAM = 2  # of random numbers; the task's own evaluation uses another


@EVALUATORS.register("length_extrapolation")
class LengthExtrapolation(Evaluator):
    """Loss at 1x, 2x, 4x, ... the training length; nothing where no test document is long enough, or no table."""

    version = 2
    tasks = (LanguageModeling,)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``by_length``, by tokens of a window; ``by_position``, the loss at the greatest length that the
        model takes, in each part of a window that is as long as the training's; and the loss of the ``sliding``
        window."""
        task = loaded.task
        assert isinstance(task, LanguageModeling)
        factors = sorted(self.config.length_factors)
        windows = labelled_windows(task, factors[-1])
        if not windows:
            return {"windows": 0, "by_length": {}, "by_position": [], "sliding": None}
        by_length, by_position = {}, []
        for factor in factors:
            if not reaches(loaded, factor):
                break
            scores = score_tokens(loaded.model, window_batches(task, windows, factor, self.config.batch_tokens))
            loss, predicted = float(scores.losses.mean()), len(scores.losses)
            by_length[str(task.sequence_length * factor)] = {"loss": loss, "predicted_tokens": predicted}
            parts = (scores.position_ids - 1) // _ordinary(task)
            by_position = [float(scores.losses[parts == part].mean()) for part in range(factor)]
        sliding, _, _ = score_batches(loaded.model, _sliding_batches(task, windows, self.config.batch_tokens))
        return {"windows": len(windows), "by_length": by_length, "by_position": by_position, "sliding": sliding}


def labelled_windows(task: LanguageModeling, factor: int) -> list[Segment]:
    """Returns up to 128 (visible, labels) windows, ``factor`` times as long as a training row, one of each test
    document that is long enough."""
    length = _ordinary(task) * factor
    split = task.corpus.splits["test"]
    long_enough = np.flatnonzero(np.diff(split.offsets) >= length)
    windows = []
    for index in long_enough[evenly_spaced(len(long_enough), _MAX_WINDOWS)].tolist():
        rng = np.random.default_rng([EVALUATION_SEED, _STREAM, index])
        windows.append(task.make_labels(split.document(index)[:length], rng))
    return windows


def reaches(loaded: LoadedRun, factor: int) -> bool:
    """Returns whether the model takes texts ``factor`` times as long as a training row: a table of positions ends."""
    task, limit = loaded.task, loaded.model.roformer.position.traits.max_length
    assert isinstance(task, LanguageModeling)
    return limit is None or _ordinary(task) * factor + FRAME_TOKENS <= limit


def window_batches(task: LanguageModeling, windows: list[Segment], factor: int, batch_tokens: int) -> Iterator[Batch]:
    """Yields the windows cut into pieces of ``factor`` training rows, [CLS] and [SEP] around each."""
    length = _ordinary(task) * factor
    pieces = [
        (visible[start : start + length], labels[start : start + length])
        for visible, labels in windows
        for start in range(0, len(visible), length)
    ]
    yield from _framed(task, pieces, batch_tokens)


def _sliding_batches(task: LanguageModeling, windows: list[Segment], batch_tokens: int) -> Iterator[Batch]:
    """Yields pieces as long as a training row, each half a row after the one before it. A token is predicted in the
    piece that has it in its middle half (at the ends of a window: nearest to it), or where it sees what stands before
    it only, in the first piece that has it: so each is predicted once."""
    length = _ordinary(task)
    predicted = length // 4 + length // 2 if task.is_bidirectional else length  # of a piece, up to its end
    pieces = []
    for visible, labels in windows:
        starts = [*range(0, len(visible) - length, length // 2), len(visible) - length]
        done = 0
        for start in starts:
            stop = len(visible) if start == starts[-1] else start + predicted
            inside = labels[start : start + length].copy()
            inside[: done - start] = inside[stop - start :] = IGNORE_INDEX
            pieces.append((visible[start : start + length], inside))
            done = stop
    yield from _framed(task, pieces, batch_tokens)


def _framed(task: LanguageModeling, pieces: list[Segment], batch_tokens: int) -> Iterator[Batch]:
    size = max(1, batch_tokens // (len(pieces[0][0]) + FRAME_TOKENS))
    for start in range(0, len(pieces), size):
        yield task.collate(task.add_special_tokens(*piece) for piece in pieces[start : start + size])


def _ordinary(task: LanguageModeling) -> int:
    """Returns the ordinary tokens of a full training row."""
    return task.sequence_length - FRAME_TOKENS
