"""Which encodings a comparison holds, in which order, and what each one looks like in every figure.

Colors are the Okabe-Ito palette, darkened where its lightest members are too faint for a line on white; colors,
dashes and markers cycle with different periods, so that 30 encodings differ even in black and white.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLORS = ("#0072b2", "#d55e00", "#009e73", "#b0609a", "#b07a00", "#4a9fd6")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Style:
    """Color (hex), matplotlib dash pattern and marker of one encoding."""

    color: str
    dash: Any
    marker: str


def by_loss(comparison: Mapping[str, Any]) -> list[str]:
    """Names in the MLM part: the reference first, the others by rising test loss; empty without that part."""
    part = comparison["lm"] or {"encodings": {}}
    return _ordered(part["encodings"], comparison["reference"], "loss", sign=1)


def by_accuracy(comparison: Mapping[str, Any]) -> list[str]:
    """Names in the classification part: the reference first, the others by falling accuracy."""
    part = comparison["classification"] or {"encodings": {}}
    return _ordered(part["encodings"], comparison["reference"], "accuracy", sign=-1)


def by_bleu(comparison: Mapping[str, Any]) -> list[str]:
    """Names in the translation part: the reference first, the others by falling BLEU."""
    return _ordered(comparison["translation"]["encodings"], comparison["reference"], "bleu", sign=-1)


def rival(names: Sequence[str]) -> str:
    """Whom the first of ``names`` is held against: the paper's own baseline where it is there, else the best of the
    others, of which what is claimed is corrected for all; empty without others."""
    return "sinusoidal" if "sinusoidal" in names[1:] else next(iter(names[1:]), "")


def styles(comparison: Mapping[str, Any]) -> dict[str, Style]:
    """One style per encoding, the same in every figure of the page; the reference always has the first."""
    names = list(dict.fromkeys([comparison["reference"], *by_loss(comparison), *by_accuracy(comparison)]))
    return {
        name: Style(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(names)
    }


def _ordered(encodings: Mapping[str, Any], reference: str, metric: str, *, sign: int) -> list[str]:
    return sorted(encodings, key=lambda name: (name != reference, sign * encodings[name][metric]["mean"], name))
