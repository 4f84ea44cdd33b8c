"""Writes docs/reproduction.md and its figures: every result of the paper with ours beside it, or why there is none.

python -m tools.reproduction_page        # or make report
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from roformer.report.canvas import WIDE, LineEnd, label_line_ends, new_axes, text_width, themed, to_svg
from roformer.report.numbers import display_name, fixed, provenance_line, with_interval
from roformer.report.styles import COLORS
from roformer.results.comparison import Comparison, comparison_from_json
from roformer.results.intervals import Interval, paired_ratio
from roformer.sections import downstream_score, learning_speed, length_extrapolation, long_term_decay, summary_kinds
from roformer.theory import relative_upper_bound

DOCS = Path(__file__).parents[1] / "docs"
ROWS, PAGE, RESULTS, IMAGES = DOCS / "reproduction.yaml", DOCS / "reproduction.md", DOCS / "results", DOCS / "images"
FLOPS = 4e14  # a second of one H100: two fifths of its peak in bfloat16
HEAD = f"""# The paper's results, and ours

Made by `make report` from [reproduction.yaml](reproduction.yaml) and the files in [results](results/README.md).
Section numbers are those of arXiv:2104.09864v5. Ours: the mean over seeds [95 % interval over seeds]. GPU hours are
estimates, which nobody has measured: 6 operations a parameter and token at {FLOPS / 1e12:.0f} TFLOP/s, no attention.

The data that ours are made of are not part of this repository. `corpus`: 28,258 English Wikipedia articles (2014) and
116 public-domain books to train on, as [results/compare](results/compare/README.md) says. `glue`: a folder a task
with the columns of the hub. `chinese`: `train-*`, `validation-*` and `test-*` tables with a column `text`, of 11,235
articles of the Chinese Wikipedia and 2,804 statutes to train on. `laws`: these statutes with a column `category`, in
the same splits. `multi30k`: `train`, `validation` and `test` tables of 29,000, 1,014 and 1,000
captions (the test of 2016) in columns `en` and `de`. `wikipedia`: `train`, `validation` and `test` tables of the
English articles alone, laid end to end with a blank line between them, as in Enwik8: 100, 2.5 and 2.5 MB in 100, 3
and 3 rows of a column `text`. Tables of your own with such columns will do.
"""

Content = Mapping[str, Any]
S = TypeVar("S")


def main() -> None:
    content = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    PAGE.write_text(page(content), encoding="utf-8")
    print(PAGE)
    figures = {"figure2": figure2(content), **{name: curves(each) for name, each in content["curves"].items()}}
    for name, figure in figures.items():
        file = IMAGES / f"{name}.svg"
        file.write_text(to_svg(figure, name=name), encoding="utf-8")
        print(file)


def page(content: Content) -> str:
    """Returns the page: of each group a table and what it took, and the paper's defects."""
    defects = "\n".join(f"| {each['what']} | {each['ours']} |" for each in content["defects"])
    last = f"## Defects of the paper\n\n| what | what our runs say or do |\n| --- | --- |\n{defects}\n"
    return "\n".join([HEAD, *map(group, content["groups"]), last])


def group(content: Content) -> str:
    """Returns the part of the page about one group of results."""
    lines = ["| result | the paper | ours | seeds | status |", "| --- | --- | --- | ---: | --- |"]
    lines += [f"| {' | '.join(cells(row))} |" for row in content["rows"]]
    parts = [f"## {content['title']}", "\n".join(lines)]
    if "images" in content:
        parts += [f"![{name}](images/{name}.svg)" for name in content["images"]]
    if "incomparable" in content:
        parts.append(f"Not comparable because: {content['incomparable'].strip()}")
    if "reduced" in content:
        parts += [f"As run{_circumstances(content)}:", textwrap.indent(content["reduced"].strip(), "    ")]
    if "full" in content:
        parts += [
            f"At full size, {_hours(content['full'])}:",
            textwrap.indent(content["full"]["command"].strip(), "    "),
        ]
    return "\n\n".join(parts) + "\n"


def cells(row: Content) -> list[str]:
    """Returns what stands in the columns of a row.

    Raises:
        ValueError: if it has neither numbers nor a status.
    """
    value, seeds = ours(row)
    status = row.get("status", "run at a reduced size" if value else "")
    if not status:
        raise ValueError(f"{ROWS.name}: '{row['result']}' has no numbers in {RESULTS.name}, and no status")
    found = [row["result"], str(row["paper"]), value or "–", seeds, status]
    return [cell.replace("|", r"\|") for cell in found]


def ours(row: Content) -> tuple[str, str]:
    """Returns our numbers and how many seeds they are of; nothing where there are none."""
    if "bound" in row:
        bound = relative_upper_bound(row["bound"], head_size=128, base=10_000.0)
        return ", ".join(fixed(value, 1) for value in bound), "–"
    if "score" in row:
        return _score(*row["score"].split("."))
    if "ours" not in row:
        return "", "–"
    place = row["ours"]
    found = comparison(place["of"])
    if "decay" in place:
        return _decay(found, place)
    if "steps_to_target" in place:
        races = _summary(found, learning_speed.Summary).encodings[place["steps_to_target"]].steps_to_target
        ratios = "; ".join(f"{with_interval(race.ratio, 2)} to {race.target_loss:.3g}" for race in races)
        return ratios, str(len(races[-1].ratio.values))
    if "beyond" in place:
        extrapolated = _summary(found, length_extrapolation.Summary)
        losses = extrapolated.encodings[place["beyond"]].loss_by_length
        first, *others = (np.exp(losses[length].values) for length in sorted(losses))
        return ", ".join(with_interval(paired_ratio(each, first), 2) for each in others), str(len(first))
    interval = _at(found.summaries, place["place"])
    signed = place["place"].endswith("difference")
    written = with_interval(interval, place["decimals"], scale=place.get("scale", 1.0), signed=signed)
    return written, str(len(interval.values))


def _score(folder: str, data: str) -> tuple[str, str]:
    """Returns the score of RoPE and of learned positions on a dataset, and the difference."""
    encodings = _summary(comparison(folder), downstream_score.Summary).datasets[data].encodings
    difference = encodings["learned"].difference
    assert difference is not None
    rope, learned = (with_interval(encodings[name].score, 1, scale=100) for name in ("rope", "learned"))
    less = with_interval(difference, 1, scale=100, signed=True)
    return f"RoPE {rope}, learned {learned}; learned minus RoPE {less}", str(len(difference.values))


def _decay(found: Comparison, place: Content) -> tuple[str, str]:
    """Returns scores or bounds at some distances relative to distance 0, or how loose the bound is."""
    decay = _summary(found, long_term_decay.Summary).encodings["rope"]
    group = found.group("language_modeling")
    seeds = str(len(group.encodings["rope"].seeds)) if group else "–"
    if place["decay"] == "looseness":
        factors = np.divide(decay.bounds, decay.scores)
        return f"{fixed(factors.min(), 0)}, {fixed(factors.max(), 0)}", seeds
    curve = getattr(decay, place["decay"])
    return ", ".join(fixed(curve[at] / curve[0], 2) for at in place["at"]), seeds


def _at(found: Any, place: str) -> Interval:
    """Returns the interval at a place such as ``lm_loss.encodings.rope.loss``."""
    for key in place.split("."):
        found = found[key] if isinstance(found, Mapping) else getattr(found, key)
    assert isinstance(found, Interval)
    return found


def _summary(found: Comparison, kind: type[S]) -> S:
    summary = found.get(kind)
    assert summary is not None
    return summary


def comparison(name: str) -> Comparison:
    """Returns the comparison of a folder of docs/results."""
    content = json.loads((RESULTS / name / "comparison.json").read_text(encoding="utf-8"))
    return comparison_from_json(content, summary_kinds())


@themed
def figure2(content: Content) -> Figure:
    """Figure 2 from our code, and points of it from another program."""
    figure, axes = new_axes(WIDE, 320, left=52, right=36, bottom=50, top=14)
    distances = np.arange(1, 257)
    axes.plot(distances, relative_upper_bound(distances, head_size=128, base=10_000.0), color=COLORS[0])
    axes.plot(content["bound"]["distances"], content["bound"]["values"], color=COLORS[1], ls="none", marker="o", ms=6)
    axes.set(
        xlabel="Relative distance (tokens)", ylabel="Relative upper bound, d = 128", xlim=(0, 256), ylim=(0, None)
    )
    return figure


@themed
def curves(content: Content) -> Figure:
    """One half of the paper's Figure 3, read off, and our curves, over the tokens trained on."""
    lines = content["lines"]
    encodings = _summary(comparison(content["of"]), learning_speed.Summary).encodings
    tokens = np.array(content["thousand_steps"]) * 1000 * content["tokens_per_step"]
    labels = {name: f"{name}, the paper" for name in lines}
    right = 36 + text_width(list(labels.values()), WIDE)
    figure, axes = new_axes(WIDE, 380, left=52, right=right, bottom=50, top=14)
    colors, ends = iter(COLORS), []
    for name, label in labels.items():
        axes.plot(tokens, lines[name], color=(color := next(colors)), ls="--")
        ends.append(LineEnd(tokens[-1], lines[name][-1], label, color))
    for name, encoding in encodings.items():
        curve = encoding.curve
        axes.plot(curve.tokens, curve.mean, color=next(colors))
        end = (curve.tokens[-1], curve.mean[-1])
        axes.annotate(f"{display_name(name)}, ours", end, xytext=(8, -4), textcoords="offset points", fontsize=12.5)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:,.0f} M"))
    axes.set(xlabel="Training tokens", ylabel="Loss (nats)")
    label_line_ends(axes, ends, gap=17)
    return figure


def _circumstances(content: Content) -> str:
    """Says when, on what and how long, as far as the results tell."""
    if "of" not in content:
        return f" ({content['cost']})"
    return f" ({content['cost']}; {provenance_line(comparison(content['of']).origin)})"


def _hours(full: Content) -> str:
    hours = 6 * float(full["parameters"]) * float(full["tokens"]) / FLOPS / 3600
    runs = f"{full['runs']} runs with " if full["runs"] > 1 else ""
    note = f", {full['note']}" if "note" in full else ""
    return f"{runs}about {fixed(hours, 1 if hours < 10 else 0)} H100 hours in all{note}"


if __name__ == "__main__":
    main()
