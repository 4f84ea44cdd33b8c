"""The tables of a report, as data, and their two renderings: Markdown and HTML."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roformer.reports.encodings import by_accuracy, by_loss
from roformer.reports.numbers import (
    MINUS,
    MISSING,
    TIMES,
    display_name,
    effect,
    fixed,
    has_bounds,
    probability,
    with_interval,
)

Comparison = Mapping[str, Any]

CORRECTED = (
    "p: two-sided paired t-test, corrected for all encodings of the table (Holm). d: mean difference over the "
    "standard deviation of the differences."
)
BOUNDS = re.compile(r"(\[[^]]*\])$")  # the interval at the end of a cell


@dataclass(frozen=True)
class Table:
    """One table: the first column is text, the others are numbers written as text."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    warnings: tuple[str, ...] = ()


def all_tables(comparison: Comparison) -> list[Table]:
    """Returns the tables that the comparison has numbers for, in the order of the page, numbered from 1."""
    tables: list[Table] = []
    if comparison["mlm"]:
        tables += [mlm_loss(comparison), learning_speed(comparison)]
        if _lengths(comparison):
            tables.append(extrapolation(comparison))
    if comparison["classification"]:
        tables.append(classification(comparison))
    if comparison["mlm"] and _paper_rival(comparison):
        tables.append(beside_the_paper(comparison))
    return [replace(table, title=f"Table {n}. {table.title}") for n, table in enumerate(tables, start=1)]


def mlm_loss(comparison: Comparison) -> Table:
    """Quality after training: test loss, its paired difference to the reference, accuracy at masked tokens."""
    part, reference = comparison["mlm"], display_name(comparison["reference"])
    rows = []
    for name in by_loss(comparison):
        result = part["encodings"][name]
        difference = result["difference"]
        rows.append(
            (
                display_name(name),
                with_interval(result["loss"], 3),
                with_interval(difference, 3, signed=True),
                probability(difference["p_holm"] if difference else None),
                effect(difference),
                with_interval(result["accuracy"], 1, scale=100),
                fixed(result["parameters"], 0),
                str(len(result["seeds"])),
            )
        )
    return Table(
        name="mlm_loss",
        title="Masked-language-model loss on the test split",
        columns=(
            "Encoding",
            "Loss (nats)",
            f"Loss {MINUS} {reference}'s",
            "p",
            "d",
            "Accuracy (%)",
            "Parameters",
            "Seeds",
        ),
        rows=tuple(rows),
        note=f"Per masked token. Positive differences favour {reference}. {_interval_note(part)} {CORRECTED}",
        warnings=tuple(part["warnings"]),
    )


def learning_speed(comparison: Comparison) -> Table:
    """How soon each encoding and the reference reach the loss that both reach, and how fast each trains."""
    part, reference = comparison["mlm"], display_name(comparison["reference"])
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
                with_interval(race.get("tokens"), 2, scale=1e-6),
                with_interval(part["encodings"][name]["tokens_per_second"], 0),
            )
        )
    columns = ("Validation loss", "Steps", f"{reference}'s steps", "Ratio", "Tokens (millions)", "Training tokens/s")
    return Table(
        name="learning_speed",
        title="Steps to a common loss, and training speed",
        columns=("Encoding", *columns),
        rows=tuple(rows),
        note=f"The loss is the lowest that every run of the encoding and of {reference} reached; steps between two "
        "evaluations are interpolated. Tokens/s depends on the hardware below.",
    )


def extrapolation(comparison: Comparison) -> Table:
    """Test loss at the training length and beyond it."""
    part = comparison["mlm"]
    lengths, trained = _lengths(comparison), part["settings"].get("sequence_length")
    rows = []
    for name in by_loss(comparison):
        losses = part["encodings"][name]["loss_by_length"]
        first, last = (losses.get(str(length)) for length in (lengths[0], lengths[-1]))
        change = fixed(last["mean"] - first["mean"], 3, signed=True) if first and last else MISSING
        cells = (with_interval(losses.get(str(length)), 3) for length in lengths)
        rows.append((display_name(name), *cells, change))
    return Table(
        name="extrapolation",
        title="Test loss (nats) beyond the training length",
        columns=("Encoding", *(length_label(length, trained) for length in lengths), f"{lengths[0]} to {lengths[-1]}"),
        rows=tuple(rows),
        note="The same tokens are predicted at each length. They are not those of the test loss above: only documents "
        f"long enough for the greatest length are used. A dash: not measured. {_interval_note(part)}",
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
        note=f"Negative differences favour {reference}. {_interval_note(part)} {CORRECTED} "
        "The baselines read the same tokens of each document as the models.",
        warnings=tuple(part["warnings"]),
    )


def beside_the_paper(comparison: Comparison) -> Table:
    """The two numbers of the paper's Figure 3 (left) beside ours; they share a direction, not a scale."""
    rival = _paper_rival(comparison)
    result = comparison["mlm"]["encodings"][rival]
    return Table(
        name="beside_the_paper",
        title=f"Beside the paper (RoFormer against BERT; here RoPE against {display_name(rival)})",
        columns=("Quantity", "Paper", "Here"),
        rows=(
            ("Loss difference (nats)", "0.18 at 100k, 0.14 at 250k steps", with_interval(result["difference"], 3)),
            ("Steps to a common loss, ratio", "about 2.1", with_interval(result["race"]["ratio"], 2)),
        ),
        note="Paper: read off the curves of its Figure 3 (left), which come without numbers or intervals. "
        "Not comparable in size: the paper plots training loss, of one BERT-base run each, over 3 to 8 billion tokens "
        "of other text.",
    )


def length_label(length: int, trained: int | None) -> str:
    """Writes "256 (2x)", with a multiplication sign, where the training length is known, else "256"."""
    return f"{length} ({length / trained:g}{TIMES})" if trained else str(length)


def to_markdown(table: Table) -> str:
    """Renders one table as GitHub Markdown: heading, warnings, table, note."""
    cells = [[_escape_markdown(cell) for cell in row] for row in (table.columns, *table.rows)]
    head, *body = (f"| {' | '.join(row)} |" for row in cells)
    rule = "|".join(["", " --- ", *[" ---: "] * (len(table.columns) - 1), ""])
    warnings = [f"> **Warning:** {_escape_markdown(text)}\n" for text in table.warnings]
    return "\n".join([f"## {_escape_markdown(table.title)}\n", *warnings, head, rule, *body, "", table.note, ""])


def to_html(table: Table) -> str:
    """Renders one table as ``<table>`` with a caption; intervals are marked up, so that CSS can set them smaller."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    body = "".join(_html_row(row) for row in table.rows)
    title = html.escape(table.title)
    return f"<table><caption><span>{title}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_row(row: Sequence[str]) -> str:
    first, *rest = (html.escape(cell) for cell in row)
    mark = r'<span class="ci">\1</span>'
    cells = "".join(f"<td>{BOUNDS.sub(mark, cell)}</td>" for cell in rest)
    return f'<tr><th scope="row">{first}</th>{cells}</tr>'


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|<>*_`\\])", r"\\\1", text).replace("\n", " ")


def _lengths(comparison: Comparison) -> list[int]:
    encodings = comparison["mlm"]["encodings"].values()
    return sorted({int(length) for result in encodings for length in result["loss_by_length"]})


def _paper_rival(comparison: Comparison) -> str:
    """The encoding that stands for the paper's BERT: sinusoidal in its text, learned in BERT's code; or nothing."""
    encodings = comparison["mlm"]["encodings"]
    rivals = [name for name in ("sinusoidal", "learned") if name in encodings and encodings[name]["difference"]]
    return rivals[0] if comparison["reference"] == "rope" and rivals else ""


def _interval_note(part: Mapping[str, Any]) -> str:
    results = [*part["encodings"].values(), *part.get("baselines", {}).values()]
    intervals = [result["accuracy"] for result in results]
    over = {interval.get("over", "seeds") for interval in intervals if has_bounds(interval)}
    if not over:
        return "One seed: no interval."
    sources = {
        "seeds": "the seeds",
        "examples": "the test examples of one run (it does not show how the seed changes the result)",
    }
    where = " or ".join(sources[key] for key in sorted(over, reverse=True))
    return f"Brackets: 95 % confidence interval over {where}."
