"""Measures the loss of one language model beyond its training length.

A longer window gives a token more context, so losses at different lengths compare only if the predicted tokens are the
same. Windows of the greatest length are cut from long test documents, labeled once, and shown whole, in halves, in
quarters: only the context changes. The alternative to a model that extrapolates is a window of the training length
that slides by half of it; its middle counts, or with a causal model its second half.
"""

from collections.abc import Iterator

import numpy as np

from roformer.data.packing import FRAME_TOKENS
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.length_extrapolation import Measured, Metrics
from roformer.sections.lm_loss import FAMILY
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
class LengthExtrapolation(Evaluator[LanguageModeling, Metrics]):
    """Loss at 1x, 2x, 4x, ... the training length, as far as test documents and the model's positions go."""

    version = 2
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        task, has_table = run.task, run.model.roformer.position.traits.max_length is not None
        factors = sorted(self.config.length_factors)
        windows = labeled_windows(task, factors[-1])
        if not windows:
            return Metrics(0, {}, (), None, task.is_bidirectional, has_table)
        by_length: dict[int, Measured] = {}
        by_position: tuple[float, ...] = ()
        for factor in factors:
            if not supports_length(run, factor):
                break
            scores = score_tokens(run.model, window_batches(task, windows, factor, self.config.batch_tokens))
            loss, predicted = float(scores.losses.mean()), len(scores.losses)
            by_length[task.sequence_length * factor] = Measured(loss, predicted)
            parts = (scores.position_ids - 1) // ordinary_tokens(task)
            by_position = tuple(float(scores.losses[parts == part].mean()) for part in range(factor))
        sliding, _, _ = score_batches(run.model, sliding_batches(task, windows, self.config.batch_tokens))
        return Metrics(len(windows), by_length, by_position, sliding, task.is_bidirectional, has_table)


def labeled_windows(task: LanguageModeling, factor: int) -> list[Segment]:
    """Returns up to 128 (visible, labels) windows, ``factor`` times as long as a training row, one of each test
    document that is long enough."""
    length = ordinary_tokens(task) * factor
    split = task.corpus.splits["test"]
    long_enough = np.flatnonzero(np.diff(split.offsets) >= length)
    windows = []
    for index in long_enough[evenly_spaced(len(long_enough), _MAX_WINDOWS)].tolist():
        rng = np.random.default_rng([EVALUATION_SEED, _STREAM, index])
        windows.append(task.make_labels(split.document(index)[:length], rng))
    return windows


def supports_length(run: LoadedRun[LanguageModeling], factor: int) -> bool:
    """Returns whether the model takes texts ``factor`` times as long as a training row: a table of positions ends."""
    limit = run.model.roformer.position.traits.max_length
    return limit is None or ordinary_tokens(run.task) * factor + FRAME_TOKENS <= limit


def window_batches(task: LanguageModeling, windows: list[Segment], factor: int, batch_tokens: int) -> Iterator[Batch]:
    """Yields the windows cut into pieces of ``factor`` training rows, [CLS] and [SEP] around each."""
    length = ordinary_tokens(task) * factor
    pieces = [
        (visible[start : start + length], labels[start : start + length])
        for visible, labels in windows
        for start in range(0, len(visible), length)
    ]
    yield from _batches(task, pieces, batch_tokens)


def sliding_batches(task: LanguageModeling, windows: list[Segment], batch_tokens: int) -> Iterator[Batch]:
    """Yields pieces as long as a training row, each half a row after the one before it. Each token is predicted once:
    in the piece that has it in its middle half (at the ends of a window: nearest to it), or by a causal model in the
    first piece that has it."""
    length = ordinary_tokens(task)
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
    yield from _batches(task, pieces, batch_tokens)


def _batches(task: LanguageModeling, pieces: list[Segment], batch_tokens: int) -> Iterator[Batch]:
    size = max(1, batch_tokens // (len(pieces[0][0]) + FRAME_TOKENS))
    for start in range(0, len(pieces), size):
        yield task.collate(task.add_special_tokens(*piece) for piece in pieces[start : start + size])


def ordinary_tokens(task: LanguageModeling) -> int:
    """Returns the tokens of a full training row without the special ones."""
    return task.sequence_length - FRAME_TOKENS
