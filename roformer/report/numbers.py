"""How numbers, intervals and names are written, the same in tables, figures, tiles and sentences."""

from roformer.results.comparison import Origin
from roformer.results.intervals import Difference, Interval

MINUS = "\u2212"  # the minus sign: as wide as a plus, so that signed columns line up
TIMES = "\u00d7"
MISSING = "\u2013"

NAMES = {
    "alibi": "ALiBi",
    "cope": "CoPE",
    "deberta": "DeBERTa",
    "fire": "FIRE",
    "kerple": "KERPLE",
    "none": "no positions",
    "rope": "RoPE",
    "shaw": "Shaw",
    "sinusoidal_rope": "sinusoidal with RoPE",
    "t5": "T5",
    "transformer_xl": "Transformer-XL",
    "tupe": "TUPE",
    "xpos": "xPos",
}
"""How the literature writes the names of encodings; any other keeps its registry name."""


def display_name(encoding: str) -> str:
    """Returns the name the literature uses for a registry name, or the registry name with spaces; settings in brackets
    behind it stay."""
    name, bracket, settings = encoding.partition(" (")
    return NAMES.get(name, name.replace("_", " ")) + bracket + settings


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """Writes 1234.5 as "1,234.5"; never writes a negative zero."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{decimals}f}".replace("-", MINUS)


def with_interval(
    interval: Interval | None, decimals: int, *, scale: float = 1.0, signed: bool = False, unit: str = ""
) -> str:
    """Writes "4.630 [4.610, 4.650]", or the mean alone where there is no CI, or a dash where there is nothing.

    Args:
        interval: what to write.
        decimals: digits after the point.
        scale: multiplies every number, for example 100 for a fraction shown in percent.
        signed: writes the plus sign too, for differences.
        unit: follows the mean without a space, for example a multiplication sign.
    """
    if interval is None:
        return MISSING
    mean = fixed(interval.mean * scale, decimals, signed=signed) + unit
    if interval.low is None or interval.high is None:
        return mean
    low, high = (fixed(bound * scale, decimals, signed=signed) for bound in (interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def probability(value: float | None) -> str:
    """Writes a p-value to three decimals, the smallest as "< 0.001"."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def corrected(difference: Difference | None) -> str:
    """Writes the corrected p-value of a difference, or a dash."""
    return probability(difference.p_holm if difference else None)


def length_label(length: int, trained: int | None) -> str:
    """Writes "256 (2x)", with a multiplication sign, where the training length is known, else "256"."""
    return f"{length} ({length / trained:g}{TIMES})" if trained else str(length)


def provenance_line(origin: Origin) -> str:
    """Writes on what machine, with which PyTorch and by which commit a comparison was trained."""
    hardware = origin.hardware
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    machine = f"{hardware['gpu']}; {machine}" if hardware["gpu"] else machine
    commit = origin.git_commit or "unknown"
    return f"{machine}; torch {origin.versions['torch']}; training of the first run: commit {commit}"
