"""The tables of what probes measured: longer texts, stretched rotations, synthetic documents."""

from collections.abc import Mapping
from typing import Any

from roformer.report.encodings import by_accuracy, by_loss
from roformer.report.numbers import MINUS, MISSING, TIMES, display_name, fixed, has_bounds, probability, with_interval
from roformer.report.table import Table

Comparison = Mapping[str, Any]

_TABLES = ("learned", "tupe")  # encodings with a vector for each position
SCALINGS = {
    "rope": "none",
    "rope_linear": "position interpolation",
    "rope_ntk": "NTK-aware base",
    "rope_dynamic": "dynamic NTK, factor 2",
    "rope_yarn": "YaRN",
}


def extrapolation(comparison: Comparison) -> Table:
    """Test loss at the training length and beyond it."""
    part = comparison["lm"]
    lengths, trained = _lengths(comparison), part["settings"].get("sequence_length")
    frame, counted = ("these two", "middle") if is_masked(part) else ("[CLS]", "second half")
    rows = []
    for name in by_loss(comparison):
        losses = part["encodings"][name]["loss_by_length"]
        first, last = (losses.get(str(length)) for length in (lengths[0], lengths[-1]))
        change = fixed(last["mean"] - first["mean"], 3, signed=True) if first and last else MISSING
        cells = (with_interval(losses.get(str(length)), 3) for length in lengths)
        sliding = with_interval(part["encodings"][name]["loss_sliding"], 3)
        rows.append((display_name(name), *cells, change, sliding))
    return Table(
        name="extrapolation",
        title="Test loss (nats) beyond the training length",
        columns=(
            "Encoding",
            *(length_label(length, trained) for length in lengths),
            f"{lengths[0]} to {lengths[-1]}",
            f"{trained or lengths[0]}, sliding",
        ),
        rows=tuple(rows),
        note="The same tokens are predicted at each length. They are not those of the test loss above, but of "
        f"{_windows(part)} documents that are long enough for the greatest length. A length of n times the training's "
        f"has n times its tokens without [CLS] and [SEP], and {frame}. Sliding: windows of the training length that "
        f"overlap by half, of which the {counted} counts: what one does without a model that reaches further. A dash: "
        f"not measured. {_untrained_rows(part)}{interval_note(part)}",
    )


def beyond_reference(comparison: Comparison) -> Table:
    """The test loss of the same windows less the reference's, at each length."""
    part, reference = comparison["lm"], display_name(comparison["reference"])
    trained = part["settings"].get("sequence_length")
    differences = {name: part["encodings"][name]["differences_by_length"] for name in by_loss(comparison)}
    lengths = sorted({int(length) for by_length in differences.values() for length in by_length})
    rows = []
    for name, by_length in differences.items():
        if name == comparison["reference"]:
            continue
        row = [display_name(name)]
        for difference in (by_length.get(str(length)) for length in lengths):
            row.append(with_interval(difference, 3, signed=True))
            row.append(probability(difference["p_holm"] if difference else None))
        rows.append(tuple(row))
    return Table(
        name="beyond_reference",
        title=f"Test loss (nats) by length, less {reference}'s",
        columns=("Encoding", *(column for length in lengths for column in (length_label(length, trained), "p"))),
        rows=tuple(rows),
        note=f"Positive differences favor {reference}. p: two-sided paired t-test, corrected for all encodings of a "
        f"column (Holm). {_untrained_rows(part)}{interval_note(part)}",
    )


def stretching(comparison: Comparison) -> Table:
    """Test loss of trained RoPE models beyond their length, their rotations scaled without training."""
    part = comparison["lm"]
    stretched = {name: part["encodings"][name]["stretching"] for name in by_loss(comparison)}
    stretched = {name: table for name, table in stretched.items() if table}
    lengths = list(next(iter(next(iter(stretched.values())).values())))
    rows = []
    for name, table in stretched.items():
        for scaling, cells in table.items():
            label = SCALINGS.get(scaling, scaling)
            row = [label if len(stretched) == 1 else f"{display_name(name)}: {label}"]
            for length in lengths:
                difference = cells[length]["difference"]
                row += [with_interval(cells[length]["loss"], 3), with_interval(difference, 3, signed=True)]
                row.append(probability(difference["p_holm"] if difference else None))
            rows.append(tuple(row))
    trained = part["settings"].get("sequence_length")
    columns = [
        column
        for length in lengths
        for column in (length_label(int(length), trained), f"{MINUS} none at {length}", "p")
    ]
    return Table(
        name="stretching",
        title="Test loss (nats) of trained RoPE models, stretched without training",
        columns=("Scaling", *columns),
        rows=tuple(rows),
        note="Each scaling is set to the length of its column; the texts and the predicted tokens are those of the "
        "table above. Negative differences favor the scaling. p: two-sided paired t-test, corrected for all of the "
        f"table (Holm). {interval_note(part)}",
    )


def synthetic(comparison: Comparison) -> Table:
    """Accuracy on synthetic documents at the training length and beyond it."""
    part = comparison["classification"]
    probes = {name: part["encodings"][name]["synthetic"] for name in by_accuracy(comparison)}
    lengths = sorted({int(length) for probe in probes.values() for length in probe or {}})
    rows = []
    for name, probe in probes.items():
        cells = ((probe or {}).get(str(length)) for length in lengths)
        accuracies = (with_interval(cell["accuracy"], 1, scale=100) if cell else MISSING for cell in cells)
        rows.append((display_name(name), *accuracies))
    documents = part["synthetic"]
    for guess in next(iter(documents["guesses"].values())):
        shares = (documents["guesses"][str(length)][guess] for length in lengths)
        rows.append((f"guess: {guess}", *(fixed(100 * share, 1) for share in shares)))
    several = any(len(result["seeds"]) > 1 for result in part["encodings"].values())
    spread = "Brackets: 95 % confidence interval over the seeds." if several else "One seed: no interval."
    return Table(
        name="synthetic",
        title="Accuracy (%) by length of synthetic documents",
        columns=("Encoding", *(length_label(length, documents["training_words"]) for length in lengths)),
        rows=tuple(rows),
        note=f"Over 1,024 new documents a length, in words. A dash: no such positions. Guesses do not see the "
        f"order of the words. {spread}",
    )


def is_masked(part: Mapping[str, Any]) -> bool:
    """Returns whether the language models saw both sides of what they predict."""
    return bool(part["settings"].get("task", "mlm") == "mlm")


def _windows(part: Mapping[str, Any]) -> int:
    """Returns from how many test documents, one window each, losses beyond the training length come."""
    return max(result["windows"] for result in part["encodings"].values())


def _untrained_rows(part: Mapping[str, Any]) -> str:
    """Says of which encodings longer texts need weights that no training text has touched."""
    trained = part["settings"].get("sequence_length")
    told = []
    for name, result in part["encodings"].items():
        if not trained or all(int(length) <= trained for length in result["loss_by_length"]):
            continue
        if name.startswith(_TABLES):
            told.append(f"{display_name(name)}: rows beyond {trained} tokens were never trained. ")
        if name.startswith("deberta") and result["position"]["max_distance"] >= trained:
            told.append(f"{display_name(name)}: the farthest row of one side was never trained. ")
    return "".join(told)


def length_label(length: int, trained: int | None) -> str:
    """Writes "256 (2x)", with a multiplication sign, where the training length is known, else "256"."""
    return f"{length} ({length / trained:g}{TIMES})" if trained else str(length)


def _lengths(comparison: Comparison) -> list[int]:
    encodings = comparison["lm"]["encodings"].values()
    return sorted({int(length) for result in encodings for length in result["loss_by_length"]})


def interval_note(part: Mapping[str, Any], measure: str = "accuracy") -> str:
    """Says what the brackets of a table are intervals over, from those of one of its measures."""
    results = [*part["encodings"].values(), *part.get("baselines", {}).values()]
    intervals = [result[measure] for result in results]
    over = {interval.get("over", "seeds") for interval in intervals if has_bounds(interval)}
    if not over:
        return "One seed: no interval."
    sources = {
        "seeds": "the seeds",
        "examples": "the test examples of one run (it does not show how the seed changes the result)",
    }
    where = " or ".join(sources[key] for key in sorted(over, reverse=True))
    pairs = any(len(interval["values"]) == 2 and interval.get("over", "seeds") == "seeds" for interval in intervals)
    wide = " Of two seeds an interval reaches 12.7 standard errors to either side; of three, 4.3." if pairs else ""
    return f"Brackets: 95 % confidence interval over {where}.{wide}"
