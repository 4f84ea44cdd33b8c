"""The one sentence that a reader takes away, and the key figures below it; both claim no more than the data do.

A difference is claimed only where the paired 95 % confidence interval over two seeds or more excludes no difference,
and its p, corrected for all encodings that are compared, is below 0.05.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from roformer.report.encodings import by_accuracy, by_loss, rival
from roformer.report.numbers import TIMES, Interval, display_name, excludes, fixed, has_bounds, with_interval

Comparison = Mapping[str, Any]

SIGNIFICANT = 0.05  # p after correction below which a difference is one


@dataclass(frozen=True)
class Tile:
    """One key figure: a big value, what it is, and its uncertainty or context."""

    value: str
    label: str
    detail: str


def headline(comparison: Comparison) -> str:
    """Returns the sentence: about the MLM loss where there is one, else about classification accuracy."""
    if comparison["lm"] and comparison["lm"]["encodings"]:
        return _lm_sentence(comparison)
    if comparison["classification"] and comparison["classification"]["encodings"]:
        return _classification_sentence(comparison)
    if comparison["scores"]:
        return _scores_sentence(comparison)
    if comparison["translation"]:
        return _translation_sentence(comparison)
    return "No results yet: the comparison holds no run."


def _translation_sentence(comparison: Comparison) -> str:
    """Which differences in BLEU to the reference are claimed."""
    subject, encodings = display_name(comparison["reference"]), comparison["translation"]["encodings"]
    if not any(len((result["difference"] or {"values": ()})["values"]) > 1 for result in encodings.values()):
        return f"No claim: nothing was compared with {subject} over two seeds or more."
    claimed = [
        f"{display_name(name)} differs from {subject} by {fixed(result['difference']['mean'], 2, signed=True)} BLEU"
        for name, result in encodings.items()
        if result["difference"] is not None and is_claimed(result["difference"])
    ]
    if claimed:
        return f"{'; '.join(claimed)}."
    unclear = [
        f"{display_name(name)} {with_interval(result['difference'], 2, signed=True)}"
        for name, result in encodings.items()
        if result["difference"] is not None
    ]
    return f"No encoding differs from {subject} in BLEU by more than the seeds do ({'; '.join(unclear)})."


def _scores_sentence(comparison: Comparison) -> str:
    """Which differences to the reference are claimed, of all encodings on all datasets."""
    subject = display_name(comparison["reference"])
    differences = {
        f"{display_name(name)} on {data}": result["difference"]
        for data, part in comparison["scores"].items()
        for name, result in part["encodings"].items()
        if name != comparison["reference"]
    }
    paired = {
        where: difference
        for where, difference in differences.items()
        if difference is not None
        and len(difference["values"]) > 1  # with bounds or, where they are all equal, without
    }
    if not paired:
        return f"No claim: nothing was compared with {subject} over two seeds or more."
    claimed = [
        f"{where} (by {fixed(100 * difference['mean'], 1, signed=True)} points)"
        for where, difference in paired.items()
        if is_claimed(difference)
    ]
    found = ", ".join(claimed) if claimed else "none"
    return f"Of {len(paired)} scores that were tested, these differ from {subject}'s: {found}."


def conclusions(comparison: Comparison) -> list[str]:
    """Returns what may be said of every encoding against the reference, at the training length and at the longest
    that was tested; nothing where no two seeds are paired."""
    part, subject = comparison["lm"], display_name(comparison["reference"])
    if not part:
        return []
    others = {n: part["encodings"][n] for n in by_loss(comparison) if n != comparison["reference"]}
    lengths = {int(length) for result in others.values() for length in result["differences_by_length"]}
    trained = part["settings"].get("sequence_length")
    compared = {f"Test loss beside {subject}'s": {name: result["difference"] for name, result in others.items()}}
    if lengths and trained and (longest := max(lengths)) > trained:
        title = f"At {longest:,} tokens, {longest / trained:g}{TIMES} the training length"
        compared[title] = {name: r["differences_by_length"].get(str(longest)) for name, r in others.items()}
    return [f"{title}: {_sides(each)}." for title, each in compared.items() if any(map(_paired, each.values()))]


def _sides(differences: Mapping[str, Interval | None]) -> str:
    """Writes "lower: t5 (by 0.05 nats); higher: ...; no difference found: ...; not tested: ..."."""
    sides: dict[str, list[str]] = {"lower": [], "higher": [], "no difference found": [], "not tested": []}
    for name, difference in differences.items():
        if not _paired(difference):
            sides["not tested"].append(display_name(name))
        elif is_claimed(difference):
            side = "lower" if difference["mean"] < 0 else "higher"
            sides[side].append(f"{display_name(name)} (by {_size(difference)} nats)")
        else:
            sides["no difference found"].append(display_name(name))
    return "; ".join(f"{side}: {', '.join(names)}" for side, names in sides.items() if names)


def _paired(difference: Interval | None) -> TypeGuard[Interval]:
    """Returns whether two seeds or more give a difference that can be tested."""
    return difference is not None and has_bounds(difference) and len(difference["values"]) > 1


def is_claimed(difference: Interval | None, nothing: float = 0.0) -> bool:
    """Returns whether one of many differences is one: by its interval, which leaves ``nothing`` out (1 for ratios),
    and by p corrected for all of them."""
    return difference is not None and excludes(difference, nothing) and difference["p_holm"] < SIGNIFICANT


def key_figures(comparison: Comparison) -> list[Tile]:
    """Returns up to five tiles about the reference, or about the best encoding where the reference is missing."""
    tiles: list[Tile] = []
    names = by_loss(comparison)
    if names:
        tiles += _lm_tiles(comparison["lm"]["encodings"], names)
    names = by_accuracy(comparison)
    if names:
        best = comparison["classification"]["encodings"][names[0]]
        tiles.append(_tile(best["accuracy"], "classification accuracy, " + display_name(names[0]), 1, 100, " %"))
    return tiles


def _lm_tiles(encodings: Mapping[str, Any], names: list[str]) -> list[Tile]:
    first = encodings[names[0]]
    subject = display_name(names[0])
    tiles = [_tile(first["loss"], f"test loss in nats, {subject}", 3)]
    result = encodings.get(rival(names))
    if result and result["difference"]:
        other = display_name(rival(names))
        tiles.append(_tile(result["difference"], f"nats, {other} minus {subject}", 3, signed=True))
        if result["race"]:
            label = f"the steps to the same loss, {other} against {subject}"
            tiles.append(_tile(result["race"]["ratio"], label, 2, unit=TIMES))
    tiles.append(_tile(first["tokens_per_second"], f"training tokens/s, {subject}", 0))
    return tiles


def _tile(
    interval: Interval, label: str, decimals: int, scale: float = 1.0, unit: str = "", *, signed: bool = False
) -> Tile:
    value, _, bounds = with_interval(interval, decimals, scale=scale, signed=signed).partition(" [")
    count = len(interval["values"])
    over = "test examples" if interval.get("over") == "examples" else f"{count} seeds"
    return Tile(value + unit, label, f"95 % CI [{bounds} over {over}" if bounds else f"{_seeds(count)}, no interval")


def _lm_sentence(comparison: Comparison) -> str:
    encodings, names = comparison["lm"]["encodings"], by_loss(comparison)
    subject, first = display_name(names[0]), encodings[names[0]]
    score = f"{fixed(first['loss']['mean'], 3)} nats"
    if names[0] != comparison["reference"]:
        return _no_reference(comparison["reference"], f"the lowest test loss is {score} ({subject})")
    opponent = rival(names)
    other = display_name(opponent)
    if not opponent or not encodings[opponent]["difference"]:
        return f"{subject} reaches a test loss of {score}; {_no_pair(other)}."
    result = encodings[opponent]
    difference, ratio = result["difference"], result["race"] and result["race"]["ratio"]
    if len(difference["values"]) < 2:
        gap = fixed(abs(difference["mean"]), 3)
        loss = fixed(result["loss"]["mean"], 3)
        return f"One seed: no claim; test loss is {score} with {subject} and {loss} with {other}, {gap} nats apart."
    final, speed = _final_clause(difference), _speed_clause(ratio, other)
    if final and speed:
        link = "and" if (difference["mean"] > 0) == (ratio["mean"] > 1) else "but"
        sentence = f"{subject} {speed} {link} {final}"
    elif final:
        sentence = f"{subject} {_final_clause(difference, than=f' than {other}')}"
    elif speed:
        sentence = f"{subject} {speed}, but in the final test loss {_no_difference(difference, 'nats', 1)}"
    else:
        sentence = f"Between {subject} and {other} {_no_difference(difference, 'nats', 1)}"
    return sentence + _better_than_reference(encodings, names, opponent) + "."


def _final_clause(difference: Interval, *, than: str = "") -> str:
    """Writes "ends 0.73 nats lower (95 % CI ...)", or nothing where the seeds do not show it."""
    if not is_claimed(difference):
        return ""
    direction = "lower" if difference["mean"] > 0 else "higher"
    return f"ends {_size(difference)} nats {direction}{than} ({_bounds(difference)})"


def _speed_clause(ratio: Interval | None, other: str) -> str:
    if ratio is None or not is_claimed(ratio, 1.0):
        return ""
    factor = max(ratio["mean"], 1 / ratio["mean"])
    times = f"{factor:.{1 if factor >= 1.2 else 2}f}{TIMES}"
    if ratio["mean"] > 1:
        return f"reaches the same validation loss in {times} fewer steps than {other}"
    return f"needs {times} the steps of {other} to reach the same validation loss"


def _classification_sentence(comparison: Comparison) -> str:
    encodings, names = comparison["classification"]["encodings"], by_accuracy(comparison)
    subject, first = display_name(names[0]), encodings[names[0]]
    score = f"{fixed(100 * first['accuracy']['mean'], 1)} % of the test documents"
    if names[0] != comparison["reference"]:
        return _no_reference(comparison["reference"], f"the best model classifies {score} correctly ({subject})")
    opponent = rival(names)
    other = display_name(opponent)
    if not opponent or not encodings[opponent]["difference"]:
        return f"{subject} classifies {score} correctly; {_no_pair(other)}."
    difference = encodings[opponent]["difference"]
    if len(difference["values"]) < 2:
        loss = fixed(100 * encodings[opponent]["accuracy"]["mean"], 1)
        return f"One seed: no claim; {subject} classifies {score} correctly, {other} {loss} %."
    if not is_claimed(difference):
        return f"Between {subject} and {other} {_no_difference(difference, 'points of accuracy', 100)}."
    direction = "more" if difference["mean"] < 0 else "fewer"
    size = fixed(abs(100 * difference["mean"]), 1)
    return (
        f"{subject} classifies {score} correctly, {size} points {direction} than {other} ({_bounds(difference, 100)})."
    )


def _no_pair(other: str) -> str:
    return f"no seed is shared with {other}, so that nothing is paired" if other else "there is no other encoding"


def _better_than_reference(encodings: Mapping[str, Any], names: list[str], opponent: str) -> str:
    """Keeps a headline against the paper's baseline from hiding that a third encoding clearly beats the reference."""
    best = next(iter(name for name in names[1:] if name != opponent), "")
    difference = encodings[best]["difference"] if best else None
    # it is the best of many, so that its own interval flatters it
    if difference is None or difference["mean"] > 0 or not is_claimed(difference):
        return ""
    winner, subject = display_name(best), display_name(names[0])
    return f"; {winner} ends {_size(difference)} nats lower than {subject} ({_bounds(difference)})"


def _no_reference(reference: str, best: str) -> str:
    return (
        f"{display_name(reference)}, the reference, is not among the encodings, so no difference is computed: give "
        f"evaluate.py reference= one that is; {best}."
    )


def _no_difference(difference: Interval, unit: str, scale: float) -> str:
    size = f"{fixed(abs(scale * difference['mean']), _decimals(difference, scale))} {unit}"
    detail = _bounds(difference, scale) if has_bounds(difference) else "no interval"
    return f"no difference beyond the seed spread is visible ({size} apart; {detail})"


def _bounds(difference: Interval, scale: float = 1.0) -> str:
    """The CI of a claimed size: bounds of the absolute difference where the sign is settled, else signed bounds."""
    low, high = (scale * difference[side] for side in ("low", "high"))
    if excludes(difference, 0.0):
        low, high = sorted((abs(low), abs(high)))
    decimals = _decimals(difference, scale)
    pairs = len(difference["values"])
    return f"95 % CI {fixed(low, decimals)} to {fixed(high, decimals)}, {pairs} paired seeds"


def _size(difference: Interval) -> str:
    return fixed(abs(difference["mean"]), _decimals(difference, 1))


def _decimals(difference: Interval, scale: float) -> int:
    """Points of accuracy: one. Nats: two, or three where the difference is so small that two would hide it."""
    if scale != 1:
        return 1
    return 2 if abs(difference["mean"]) >= 0.1 else 3


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
