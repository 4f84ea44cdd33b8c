"""How numbers, intervals and names are written, the same in tables, figures, tiles and the headline.

An interval is ``{"values": [...], "mean": x, "low": x|None, "high": x|None}``; low and high bound the 95 % CI.
"""

from collections.abc import Mapping
from typing import Any

Interval = Mapping[str, Any]

MINUS = "\u2212"  # the minus sign: as wide as a plus, so that signed columns line up
TIMES = "\u00d7"
MISSING = "\u2013"

NAMES = {"none": "no encoding", "rope": "RoPE", "sinusoidal_rope": "sinusoidal with RoPE"}


def display_name(encoding: str) -> str:
    """Returns the name the literature uses for a registry name, or the registry name with spaces."""
    return NAMES.get(encoding, encoding.replace("_", " "))


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """Writes 1234.5 as "1,234.5"; never writes a negative zero."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{decimals}f}".replace("-", MINUS)


def with_interval(
    interval: Interval | None, decimals: int, *, scale: float = 1.0, signed: bool = False, unit: str = ""
) -> str:
    """Writes "4.630 [4.610, 4.650]", or the mean alone where there is no CI, or a dash where there is nothing.

    Args:
        interval: as in the module docstring.
        decimals: digits after the point.
        scale: multiplies every number, for example 100 for a fraction shown in per cent.
        signed: writes the plus sign too, for differences.
        unit: follows the mean without a space, for example a multiplication sign.
    """
    if interval is None:
        return MISSING
    mean = fixed(interval["mean"] * scale, decimals, signed=signed) + unit
    if not has_bounds(interval):
        return mean
    low, high = (fixed(interval[side] * scale, decimals, signed=signed) for side in ("low", "high"))
    return f"{mean} [{low}, {high}]"


def probability(value: float | None) -> str:
    """Writes a p-value to three decimals, the smallest as "< 0.001"."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def effect(difference: Interval | None) -> str:
    """Writes the size of the effect of a difference, or a dash where it has none."""
    if difference is None or difference["effect_size"] is None:
        return MISSING
    return fixed(difference["effect_size"], 1, signed=True)


def circumstances(comparison: Mapping[str, Any]) -> str:
    """Writes on what machine, with which PyTorch and by which commit a comparison was trained."""
    hardware = comparison["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    machine = f"{hardware['gpu']}; {machine}" if hardware["gpu"] else machine
    commit = comparison["git_commit"] or "unknown"
    return f"{machine}; torch {comparison['versions']['torch']}; training of the first run: commit {commit}"


def has_bounds(interval: Interval) -> bool:
    """Returns whether the interval carries a CI at all."""
    return interval.get("low") is not None and interval.get("high") is not None


def excludes(interval: Interval | None, value: float) -> bool:
    """Returns whether two seeds or more give a CI that leaves ``value`` out: the rule for claiming a difference."""
    if interval is None or not has_bounds(interval) or len(interval["values"]) < 2:
        return False
    return bool(interval["low"] > value or interval["high"] < value)
