"""Causal models beyond their training length next to published decoders: perplexity ratios and their shape."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, TIMES, display_name, fixed, length_label
from roformer.report.table import Table
from roformer.results.comparison import Comparison
from roformer.sections import length_extrapolation, lm_loss
from roformer.sections.section import SECTIONS, Nothing, Section

# Chi et al. 2022, arXiv:2205.09921, Table 3, OpenWebText2: perplexity at 512, their training length, and at multiples
_FACTORS = (2, 4, 8, 16)
_DECODERS = {
    "rope": (24.2, 32.8, 62.4, 111, 185),
    "sinusoidal": (33, 750, 5507, 14039, 22621),
    "alibi": (23.9, 22.4, 22.5, 22.2, 22.3),
    "t5": (23.7, 21.9, 21.7, 22.5, 25.5),
    "kerple": (23.9, 22.0, 21.6, 21.2, 21.3),
}
_ALIKE = 1.02  # perplexities this near to the lowest count as the lowest


@SECTIONS.register("published_decoders")
class PublishedDecoders(Section[Nothing]):
    heading = "Beyond the training length"
    place = 220

    def render(self, summary: Nothing, comparison: Comparison) -> Iterator[Block]:
        trained = comparison.settings(lm_loss.FAMILY).get("sequence_length")
        losses, extrapolated = comparison.get(lm_loss.Summary), comparison.get(length_extrapolation.Summary)
        if trained and losses and losses.unit == "token" and extrapolated:
            names, encodings = comparison.names(lm_loss.FAMILY), extrapolated.encodings
            means = {name: {n: loss.mean for n, loss in encodings[name].loss_by_length.items()} for name in names}
            if any(name in _DECODERS and trained in each and len(each) > 1 for name, each in means.items()):
                yield table(means, trained)


def table(losses: Mapping[str, Mapping[int, float]], trained: int) -> Table:
    """Perplexity beyond the training length relative to that at it, here and in Chi et al. 2022, and its shape.

    Args:
        losses: encoding -> tokens of a window -> mean loss in nats.
        trained: tokens of a training row.
    """
    rows = []
    for name, by_length in losses.items():
        here = {
            factor: math.exp(by_length[factor * trained] - by_length[trained])
            for factor in (1, *_FACTORS)
            if {trained, factor * trained} <= by_length.keys()
        }
        perplexities: Sequence[float] = _DECODERS.get(name, ())
        theirs = {factor: each / perplexities[0] for factor, each in zip((1, *_FACTORS), perplexities, strict=False)}
        cells = (
            fixed(each[factor], 2) if factor in each else MISSING for factor in _FACTORS for each in (here, theirs)
        )
        published = {factor: theirs[factor] for factor in here if factor in theirs}
        rows.append((display_name(name), *cells, shape(here), shape(published)))
    labels = (label for factor in _FACTORS for label in (length_label(trained * factor, trained), "Chi et al."))
    return Table(
        name="published_decoders",
        title=f"Perplexity beyond {trained} tokens relative to that at {trained}, and that of published decoders",
        columns=("Encoding", *labels, "Shape", "Shape, Chi et al."),
        rows=tuple(rows),
        note="Chi et al. 2022 (KERPLE), Table 3: OpenWebText2, 162 M parameters, 5 seeds, perplexity on all of a text "
        "in pieces of each length. Here: the mean loss over seeds, of the same tokens at each length. "
        f"Shape: where perplexity is lowest; up to {100 * (_ALIKE - 1):.0f} % above still counts as the lowest.",
    )


def shape(perplexities: Mapping[int, float]) -> str:
    """Says how perplexity changes with the length, given in multiples of the training length.

    Of a curve that falls to its lowest point and rises from there, else "varies"; a dash for a single length.
    """
    factors, values = sorted(perplexities), [perplexities[factor] for factor in sorted(perplexities)]
    if len(values) < 2:
        return MISSING
    least = [place for place, each in enumerate(values) if each <= _ALIKE * min(values)]
    first, last = least[0], least[-1]
    falls = all(after < _ALIKE * before for before, after in pairwise(values[: first + 1]))
    rises = all(before < _ALIKE * after for before, after in pairwise(values[last:]))
    if not falls or not rises or len(least) <= last - first:
        return "varies"
    phrases = [f"falls to {factors[first]}{TIMES}"] if first else []
    if last > first:
        phrases.append("holds" if last == len(values) - 1 else f"holds to {factors[last]}{TIMES}")
    if last < len(values) - 1:
        phrases.append("rises")
    return ", then ".join(phrases)
