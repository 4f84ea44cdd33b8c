"""Phrases that several sections share: what brackets are, what a difference shows, and who the baseline is."""

from collections.abc import Iterable, Sequence

from roformer.report.blocks import Tile
from roformer.report.numbers import display_name, fixed, with_interval
from roformer.results.intervals import Difference, Interval

EXPLORATORY = "Exploratory; intervals are not corrected for their number."
_SOURCES = {
    "seeds": "the seeds",
    "examples": "the test examples of one run (it does not show how the seed changes the result)",
}


def baseline(names: Sequence[str]) -> str:
    """Returns whom the first of ``names`` is compared with: the paper's own baseline where it is there, else the best
    of the others; empty without others."""
    return "sinusoidal" if "sinusoidal" in names[1:] else next(iter(names[1:]), "")


def interval_note(intervals: Iterable[Interval]) -> str:
    """Says what the brackets of a table are intervals over, from the intervals of one of its columns."""
    intervals = list(intervals)
    over = {interval.over for interval in intervals if interval.has_bounds}
    if not over:
        return "One seed: no interval."
    where = " or ".join(_SOURCES[key] for key in sorted(over, reverse=True))
    pairs = any(len(interval.values) == 2 and interval.over == "seeds" for interval in intervals)
    wide = " With two seeds an interval reaches 12.7 standard errors to either side; with three, 4.3." if pairs else ""
    return f"Brackets: 95 % confidence interval over {where}.{wide}"


def rows_caption(intervals: Iterable[Interval]) -> str:
    """Says what a dot chart shows next to the means."""
    intervals = list(intervals)
    if any(len(interval.values) > 1 for interval in intervals):
        return "Bar: 95 % CI; small dots: single seeds."
    has_bounds = any(interval.has_bounds for interval in intervals)
    return "Bar: 95 % CI over the test examples." if has_bounds else "One seed: no bars."


def tile(
    interval: Interval, label: str, decimals: int, scale: float = 1.0, unit: str = "", *, signed: bool = False
) -> Tile:
    """Returns a key figure with its interval."""
    value, _, bounds = with_interval(interval, decimals, scale=scale, signed=signed).partition(" [")
    count = len(interval.values)
    over = "test examples" if interval.over == "examples" else f"{count} seeds"
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    return Tile(value + unit, label, f"95 % CI [{bounds} over {over}" if bounds else f"{seeds}, no interval")


def no_reference(reference: str, best: str) -> str:
    return (
        f"{display_name(reference)}, the reference, is not among the encodings, so no difference is computed: give "
        f"evaluate.py reference= one that is; {best}."
    )


def no_pair(other: str) -> str:
    return f"no seed is shared with {other}, so nothing is paired" if other else "there is no other encoding"


def delta(reference: str, worse: str = "positive") -> str:
    """Writes the head of a column of differences to the reference."""
    name = display_name(reference)
    return f"Δ vs. {name} [95% CI] ({worse}: worse than {name})"


def primary(differences: Iterable[Difference | None]) -> str:
    """Says what the table of the main differences claims, and whether its differences are tested."""
    claim = "The main claims rest on the differences of this table; all others on this page are exploratory. "
    if has_p(differences):
        return f"{claim}p: two-sided sign-flip test over the seeds, corrected for all of them (Holm)."
    return f"{claim}No p-values: with so few seeds an exact test cannot reach 0.05. Intervals are not corrected."


def has_p(differences: Iterable[Difference | None]) -> bool:
    """Returns whether a table of primary tests has a p to show."""
    return any(each is not None and each.p_holm is not None for each in differences)


def no_clear_difference(name: str, other: str, difference: Difference, unit: str, scale: float) -> str:
    """Writes "Between RoPE and ALiBi there is no clear difference (ALiBi minus RoPE: +0.02 nats; 95 % CI ...)".

    Args:
        name: the reference.
        other: the encoding from which the reference is subtracted.
        difference: to the reference.
        unit: after ``scale``.
        scale: factor of what is shown.
    """
    mean = fixed(scale * difference.mean, _decimals(difference, scale), signed=True)
    detail = bounds(difference, scale) if difference.has_bounds else "no interval"
    return f"Between {name} and {other} there is no clear difference ({other} minus {name}: {mean} {unit}; {detail})"


def bounds(difference: Difference, scale: float = 1.0) -> str:
    """Writes the CI of a difference's size: bounds of the absolute difference where the sign is settled, else signed
    bounds."""
    assert difference.low is not None and difference.high is not None  # noqa: PT018  # both or neither
    low, high = scale * difference.low, scale * difference.high
    if difference.ci_excludes(0.0):
        low, high = sorted((abs(low), abs(high)))
    signed = not difference.ci_excludes(0.0)
    low_text, high_text = (fixed(bound, _decimals(difference, scale), signed=signed) for bound in (low, high))
    return f"95 % CI {low_text} to {high_text}, {len(difference.values)} paired seeds"


def size(difference: Difference, scale: float = 1.0) -> str:
    """Writes how large a difference is, without its sign."""
    return fixed(abs(scale * difference.mean), _decimals(difference, scale))


def is_paired(difference: Difference | None) -> bool:
    """Returns whether two seeds or more give a difference with an interval."""
    return difference is not None and difference.has_bounds and len(difference.values) > 1


def _decimals(difference: Difference, scale: float) -> int:
    """Points of accuracy: one. Nats: two, or three where the difference is so small that two would hide it."""
    if scale != 1:
        return 1
    return 2 if abs(difference.mean) >= 0.1 else 3
