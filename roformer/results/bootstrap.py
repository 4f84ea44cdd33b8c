"""Uncertainty over seeds and over test documents at once: a two-way bootstrap.

Source: the multi-bootstrap of Sellam et al. 2022 (MultiBERTs, arXiv:2106.16163), with a percentile interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roformer.results.intervals import LEVEL

RESAMPLES = 2000


@dataclass(frozen=True)
class Bounds:
    """A 95 % interval over seeds and test documents."""

    low: float
    high: float


@dataclass(frozen=True)
class DocumentLosses:
    """Of one run, per test document: its index in the split, the sum of its losses, and its predicted tokens."""

    documents: tuple[int, ...]
    losses: tuple[float, ...]
    tokens: tuple[int, ...]


BySeed: TypeAlias = Mapping[int, DocumentLosses]


def two_way_bounds(runs: BySeed, reference: BySeed | None = None) -> Bounds | None:
    """Returns the interval of the mean loss per token, or of its difference to a reference, when both seeds and
    documents are drawn anew, with replacement.

    Args:
        runs: seed -> losses of one encoding.
        reference: the same of another, for a paired difference over the seeds that both have.

    Returns:
        None with fewer than two seeds or documents, or where the runs have other documents or tokens.
    """
    seeds = sorted(runs.keys() & reference.keys()) if reference is not None else sorted(runs)
    every = [each[seed] for each in (runs, reference) if each is not None for seed in seeds]
    if len(seeds) < 2 or len({(each.documents, each.tokens) for each in every}) != 1 or len(every[0].documents) < 2:
        return None
    losses = np.array([runs[seed].losses for seed in seeds])
    if reference is not None:
        losses -= np.array([reference[seed].losses for seed in seeds])
    drawn = _resampled(losses, np.array(every[0].tokens), np.random.default_rng(0))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Bounds(float(low), float(high))


def _resampled(losses: NDArray[Any], tokens: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Maps (seeds, documents) sums of losses to the (resamples,) mean loss per token of resampled ones."""
    seeds, documents = losses.shape
    of_seed = rng.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES) / seeds
    of_document = rng.multinomial(documents, [1 / documents] * documents, size=RESAMPLES)
    found: NDArray[np.float64] = ((of_seed @ losses) * of_document).sum(axis=1) / (of_document @ tokens)
    return found
