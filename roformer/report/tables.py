"""The tables of a report: pure functions from the comparison to a ``Table``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from roformer.report.encodings import by_accuracy, by_bleu, by_loss
from roformer.report.numbers import (
    MINUS,
    MISSING,
    TIMES,
    display_name,
    effect,
    fixed,
    probability,
    with_interval,
)
from roformer.report.probe_tables import (
    beyond_reference,
    extrapolation,
    interval_note,
    is_masked,
    stretching,
    synthetic,
)
from roformer.report.published import beside_decoders, beside_the_paper, has_published, paper_rival
from roformer.report.table import Table

Comparison = Mapping[str, Any]

LANGUAGE_MODELS = {  # what their kind is called, and what they predict
    "mlm": ("Masked", "masked token"),
    "causal_lm": ("Causal", "token"),
    "char_lm": ("Byte", "byte"),
}
CORRECTED = (
    "p: two-sided paired t-test, corrected for all encodings of the table (Holm). d: mean difference over the "
    "standard deviation of the differences."
)


def all_tables(comparison: Comparison) -> list[Table]:
    """Returns the tables that the comparison has numbers for, in the order of the page, numbered from 1."""
    tables: list[Table] = []
    if comparison["lm"]:
        tables += [lm_loss(comparison), learning_speed(comparison)]
        if comparison["lm"]["learning_rates"]:
            tables.append(learning_rates(comparison))
        if any(result["loss_by_length"] for result in comparison["lm"]["encodings"].values()):
            tables.append(extrapolation(comparison))
        if any(result["differences_by_length"] for result in comparison["lm"]["encodings"].values()):
            tables.append(beyond_reference(comparison))
        if any(result["stretching"] for result in comparison["lm"]["encodings"].values()):
            tables.append(stretching(comparison))
        if any(has_published(comparison, name) for name in comparison["lm"]["encodings"]):
            tables.append(beside_decoders(comparison))
    if comparison["classification"]:
        tables.append(classification(comparison))
        if any(result["synthetic"] for result in comparison["classification"]["encodings"].values()):
            tables.append(synthetic(comparison))
    if comparison["scores"]:
        tables.append(scores(comparison))
        every = [result for part in comparison["scores"].values() for result in part["encodings"].values()]
        if any(result["trials"] > len(result["seeds"]) for result in every):
            tables.append(trials(comparison))
    if comparison["translation"]:
        tables.append(translation(comparison))
    if comparison["lm"] and is_masked(comparison["lm"]) and paper_rival(comparison):
        tables.append(beside_the_paper(comparison))
    return [replace(table, title=f"Table {n}. {table.title}") for n, table in enumerate(tables, start=1)]


def lm_loss(comparison: Comparison) -> Table:
    """Quality after training: test loss, its paired difference to the reference, accuracy at predicted tokens."""
    part, reference = comparison["lm"], display_name(comparison["reference"])
    kind, token = LANGUAGE_MODELS[part["settings"].get("task", "mlm")]
    in_bits = token == "byte"
    rows = []
    for name in by_loss(comparison):
        result = part["encodings"][name]
        difference = result["difference"]
        rows.append(
            (
                display_name(name),
                with_interval(result["loss"], 3),
                *([with_interval(result["loss"], 3, scale=1 / math.log(2))] if in_bits else []),
                with_interval(difference, 3, signed=True),
                probability(difference["p_holm"] if difference else None),
                effect(difference),
                with_interval(result["accuracy"], 1, scale=100),
                fixed(result["parameters"], 0),
                str(len(result["seeds"])),
            )
        )
    return Table(
        name="lm_loss",
        title=f"{kind}-language-model loss on the test split",
        columns=(
            "Encoding",
            "Loss (nats)",
            *(["Bits a byte"] if in_bits else []),
            f"Loss {MINUS} {reference}'s",
            "p",
            "d",
            "Accuracy (%)",
            "Parameters",
            "Seeds",
        ),
        rows=tuple(rows),
        note=f"Per {token}. Positive differences favor {reference}. {interval_note(part)} {CORRECTED}",
        warnings=tuple(part["warnings"]),
    )


def learning_speed(comparison: Comparison) -> Table:
    """How soon each encoding and the reference reach the loss that both reach, and how fast each trains."""
    part, reference = comparison["lm"], display_name(comparison["reference"])
    rows = []
    for name in by_loss(comparison):
        race = part["encodings"][name]["race"] or {}
        rows.append(
            (
                display_name(name),
                fixed(race["target_loss"], 3) if race else MISSING,
                with_interval(race.get("steps"), 0),
                with_interval(race.get("reference_steps"), 0),
                with_interval(race.get("ratio"), 2, unit=TIMES),
                probability(race["ratio"]["p_holm"] if race else None),
                with_interval(race.get("tokens"), 2, scale=1e-6),
                with_interval(part["encodings"][name]["loss_at_equal_time"], 3),
                with_interval(part["encodings"][name]["tokens_per_second"], 0),
            )
        )
    seconds = part["equal_time"]
    columns = (
        "Validation loss",
        "Steps",
        f"{reference}'s steps",
        "Ratio",
        "p",
        "Tokens (millions)",
        f"Loss after {seconds:,.0f} s" if seconds else "Loss at equal time",
        "Training tokens/s",
    )
    return Table(
        name="learning_speed",
        title="Steps to a common loss, and training speed",
        columns=("Encoding", *columns),
        rows=tuple(rows),
        note=f"The loss is the lowest that every run of the encoding and of {reference} reached; steps between two "
        "evaluations are interpolated, and a pair that has been below it at its first evaluation is left out. Ratio: "
        "geometric mean over seeds; p: of its logarithm, corrected for all encodings of the table (Holm). Loss at "
        "equal time: validation loss when the fastest run of all had ended, evaluations left out; the learning "
        "rate of slower ones had not come down by then. Time depends on the hardware below.",
    )


def learning_rates(comparison: Comparison) -> Table:
    """What each encoding's learning rate was chosen from."""
    grids = comparison["lm"]["learning_rates"]
    rates = sorted({rate for each in grids.values() for rate, _ in each["grid"]})
    rows = []
    for name in (name for name in by_loss(comparison) if name in grids):
        losses = dict(map(tuple, grids[name]["grid"]))
        cells = {rate: "diverged" if loss is None else fixed(loss, 3) for rate, loss in losses.items()}
        cells[grids[name]["taken"]] += " (taken)"
        rows.append((display_name(name), *(cells.get(rate, MISSING) for rate in rates)))
    return Table(
        name="learning_rates",
        title="Validation loss by learning rate, of which the best is taken",
        columns=("Encoding", *(f"{rate:g}" for rate in rates)),
        rows=tuple(rows),
        note="The whole budget each. Test data play no part in the choice.",
    )


def classification(comparison: Comparison) -> Table:
    """Test accuracy and macro F1 after fine-tuning, with the baselines below."""
    part, reference = comparison["classification"], display_name(comparison["reference"])
    rows = []
    for name in by_accuracy(comparison):
        result = part["encodings"][name]
        difference = result["difference"]
        rows.append(
            (
                display_name(name),
                with_interval(result["accuracy"], 1, scale=100),
                with_interval(difference, 1, scale=100, signed=True),
                probability(difference["p_holm"] if difference else None),
                effect(difference),
                with_interval(result["macro_f1"], 1, scale=100),
                with_interval(result["tokens_per_second"], 0),
                str(len(result["seeds"])),
            )
        )
    for name, result in part["baselines"].items():
        accuracy, macro_f1 = (with_interval(result[metric], 1, scale=100) for metric in ("accuracy", "macro_f1"))
        rows.append((f"baseline: {name}", accuracy, MISSING, MISSING, MISSING, macro_f1, MISSING, MISSING))
    return Table(
        name="classification",
        title="Classification of test documents",
        columns=(
            "Model",
            "Accuracy (%)",
            f"Points {MINUS} {reference}'s",
            "p",
            "d",
            "Macro F1 (%)",
            "Tokens/s",
            "Seeds",
        ),
        rows=tuple(rows),
        note=f"Negative differences favor {reference}. {interval_note(part)} {CORRECTED} "
        "The baselines read the same tokens of each document as the models.",
        warnings=tuple(part["warnings"]),
    )


def scores(comparison: Comparison) -> Table:
    """What each encoding scored on each dataset, by the metric that goes with it."""
    reference, rows = comparison["reference"], []
    subject = display_name(reference)
    for data, part in comparison["scores"].items():
        for name, result in _by_score(part, reference):
            difference = result["difference"]
            rows.append(
                (
                    data,
                    part["metric"],
                    display_name(name),
                    with_interval(result["score"], 1, scale=100),
                    with_interval(difference, 1, scale=100, signed=True),
                    probability(difference["p_holm"] if difference else None),
                    effect(difference),
                    str(len(result["seeds"])),
                    f"{part['test_documents']:,}",
                    f"{result['learning_rate']:g}",
                )
            )
        guess = fixed(100 * part["guess"], 1)
        rest = (f"{part['test_documents']:,}", MISSING)
        rows.append((data, part["metric"], "guess: the same answer for all", guess, *[MISSING] * 4, *rest))
    warnings = [f"{data}: {warning}" for data, part in comparison["scores"].items() for warning in part["warnings"]]
    return Table(
        name="scores",
        title="Scores on the test split (of GLUE: on its development set)",
        columns=(
            "Data",
            "Metric",
            "Encoding",
            "Score x 100",
            f"Less {subject}'s",
            "p",
            "d",
            "Seeds",
            "Documents",
            "Learning rate",
        ),
        rows=tuple(rows),
        note=f"Negative differences favor {subject}. Intervals: over seeds. Seeds share the documents, so that the "
        f"interval is too narrow for other documents: with few of them by much. {CORRECTED}",
        warnings=tuple(warnings),
    )


def translation(comparison: Comparison) -> Table:
    """BLEU of each encoding, and its differences to the reference's over seeds and over sentences."""
    part, subject = comparison["translation"], display_name(comparison["reference"])
    rows = []
    for name in by_bleu(comparison):
        result = part["encodings"][name]
        difference, bootstrap = result["difference"], result["bootstrap"]
        rows.append(
            (
                display_name(name),
                with_interval(result["bleu"], 1),
                with_interval(difference, 2, signed=True),
                probability(difference["p_holm"] if difference else None),
                _by_seed(difference, bootstrap) if bootstrap else MISSING,
                with_interval(result["compound_split"], 1),
                with_interval(result["loss"], 3),
                fixed(result["parameters"], 0),
                str(len(result["seeds"])),
            )
        )
    return Table(
        name="translation",
        title=f"BLEU of {part['test_documents']:,} test sentences",
        columns=(
            "Encoding", "sacreBLEU", f"Less {subject}'s", "p", "Of each seed (p over sentences)",
            "Compound-split BLEU", "Loss (nats)", "Parameters", "Seeds",
        ),
        rows=tuple(rows),
        note=f"sacreBLEU: {part['signature']}; {part['decoding']}. Compound-split: of "
        "tokens, for older papers only. Loss: per target token. p: two-sided paired t-test over the seeds, corrected "
        "for all encodings (Holm). p over sentences: paired bootstrap of one seed's test sentences, 1,000 samples, "
        f"not corrected: it does not know how the next seed would come out. {interval_note(part, 'bleu')}",
        warnings=tuple(part["warnings"]),
    )  # fmt: skip


def _by_seed(difference: Mapping[str, Any], p_values: Sequence[float]) -> str:
    pairs = zip(difference["values"], p_values, strict=True)
    return ", ".join(f"{fixed(value, 2, signed=True)} ({probability(p)})" for value, p in pairs)


def _by_score(part: Mapping[str, Any], reference: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the encodings of a dataset, the reference first, the others by falling score."""
    return sorted(
        part["encodings"].items(), key=lambda item: (item[0] != reference, -item[1]["score"]["mean"], item[0])
    )


def trials(comparison: Comparison) -> Table:
    """What those report who try several learning rates and choose on the scores themselves."""
    rows = [
        (
            data,
            display_name(name),
            f"{result['trials']} at {result['learning_rates']} rates",
            f"{result['learning_rate']:g}",
            fixed(100 * result["score"]["mean"], 1),
            fixed(100 * result["expected_best"], 1),
            fixed(100 * result["best"], 1),
        )
        for data, part in comparison["scores"].items()
        for name, result in _by_score(part, comparison["reference"])
    ]
    return Table(
        name="trials",
        title="The best of a grid",
        columns=(
            *("Data", "Encoding", "Runs", "Learning rate that validation chose", "Score x 100 there"),
            *("Expected best of one run a rate", "Best of all runs"),
        ),
        rows=tuple(rows),
        note="The scores of the table before are those of the rate that is best on the mean of the validation splits. "
        "The last two columns choose on the scores themselves, as a paper does that runs each rate once and reports "
        "the best: they are too high by what chance adds (Dodge et al. 2019, arXiv:1909.03004).",
    )
