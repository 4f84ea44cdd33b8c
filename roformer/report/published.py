"""The tables that set what others have published beside what was measured here."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from roformer.report.encodings import by_loss
from roformer.report.numbers import MISSING, TIMES, display_name, fixed, with_interval
from roformer.report.probe_tables import length_label
from roformer.report.table import Table

Comparison = Mapping[str, Any]

# Chi et al. 2022, arXiv:2205.09921, Table 3, OpenWebText2: perplexity at 512, their training length, and at multiples
_FACTORS = (2, 4, 8, 16)
_DECODERS = {
    "rope": (24.2, 32.8, 62.4, 111, 185),
    "sinusoidal": (33, 750, 5507, 14039, 22621),
    "alibi": (23.9, 22.4, 22.5, 22.2, 22.3),
    "t5": (23.7, 21.9, 21.7, 22.5, 25.5),
    "kerple": (23.9, 22.0, 21.6, 21.2, 21.3),
}
_ALIKE = 1.02  # perplexities this near to the least count as the least


def beside_decoders(comparison: Comparison) -> Table:
    """Perplexity beyond the training length over that at it, here and in Chi et al. 2022, and the shape of both."""
    part = comparison["lm"]
    trained = part["settings"]["sequence_length"]
    lengths = [trained * factor for factor in _FACTORS]
    rows = []
    for name in by_loss(comparison):
        losses = part["encodings"][name]["loss_by_length"]
        at_first = losses[str(trained)]["mean"] if str(trained) in losses else 0.0
        here = {
            factor: math.exp(losses[str(factor * trained)]["mean"] - at_first)
            for factor in (1, *_FACTORS)
            if {str(trained), str(factor * trained)} <= losses.keys()
        }
        perplexities: Sequence[float] = _DECODERS.get(name, ())
        theirs = {factor: each / perplexities[0] for factor, each in zip((1, *_FACTORS), perplexities, strict=False)}
        cells = (
            fixed(each[factor], 2) if factor in each else MISSING for factor in _FACTORS for each in (here, theirs)
        )
        alike = {factor: theirs[factor] for factor in here if factor in theirs}
        rows.append((display_name(name), *cells, shape(here), shape(alike)))
    columns = (column for length in lengths for column in (length_label(length, trained), "theirs"))
    return Table(
        name="beside_decoders",
        title=f"Perplexity beyond {trained} tokens, over that at {trained}, beside published decoders",
        columns=("Encoding", *columns, "Shape", "theirs"),
        rows=tuple(rows),
        note="Theirs: Chi et al. 2022 (KERPLE), Table 3, OpenWebText2, 162 M parameters, 5 seeds, perplexity on all "
        "of a text in pieces of each length. Here: the mean loss over seeds, of the same tokens at each length. "
        f"Shape: where perplexity is least, {100 * (_ALIKE - 1):.0f} % above that still counted as the least.",
    )


def has_published(comparison: Comparison, name: str) -> bool:
    """Returns whether others have published how a causal model with an encoding does beyond its training length, and
    it was measured here, at that length as well."""
    part = comparison["lm"]
    reached = part["encodings"][name]["loss_by_length"]
    trained = str(part["settings"].get("sequence_length"))
    return (
        part["settings"].get("task") == "causal_lm" and name in _DECODERS and trained in reached and len(reached) > 1
    )


def shape(perplexities: Mapping[int, float]) -> str:
    """Says how perplexity goes with the length, given by how many times the training length it is.

    Of a curve that comes down to its least and goes up from there, else "varies"; nothing of a single length.
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
    told = [f"falls to {factors[first]}{TIMES}"] if first else []
    if last > first:
        told.append("holds" if last == len(values) - 1 else f"holds to {factors[last]}{TIMES}")
    if last < len(values) - 1:
        told.append("rises")
    return ", then ".join(told)


def beside_the_paper(comparison: Comparison) -> Table:
    """The two numbers of the paper's Figure 3 (left) beside ours; they share a direction, not a scale."""
    rival = paper_rival(comparison)
    result = comparison["lm"]["encodings"][rival]
    return Table(
        name="beside_the_paper",
        title=f"Beside the paper (RoFormer against BERT; here RoPE against {display_name(rival)})",
        columns=("Quantity", "Paper", "Here"),
        rows=(
            ("Loss difference (nats)", "0.18 at 100k, 0.14 at 250k steps", with_interval(result["difference"], 3)),
            ("Steps to a common loss, ratio", "about 2.1", with_interval((result["race"] or {}).get("ratio"), 2)),
        ),
        note="Paper: read off the curves of its Figure 3 (left), which come without numbers or intervals. "
        "Not comparable in size: the paper plots training loss, of one BERT-base run each, over 3 to 8 billion tokens "
        "of other text.",
    )


def paper_rival(comparison: Comparison) -> str:
    """The encoding that stands for the paper's BERT: sinusoidal in its text, learned in BERT's code; or nothing."""
    encodings = comparison["lm"]["encodings"]
    rivals = [name for name in ("sinusoidal", "learned") if name in encodings and encodings[name]["difference"]]
    return rivals[0] if comparison["reference"] == "rope" and rivals else ""
