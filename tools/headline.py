"""The README's table and figure: eight encodings at their training length, and what longer texts cost them.

All numbers are those of docs/results/compare/comparison.json. The columns of lengths compare losses of the same
predicted tokens, so that a row can be read across: the loss in windows of the training length, then the change in
windows that are 2, 4 and 16 times as long, paired by seed.

python -m tools.headline        # docs/images/headline.svg
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy import stats

from roformer.report.canvas import POINTS, LineEnd, label_line_ends, themed, to_svg
from roformer.report.numbers import display_name
from roformer.report.styles import COLORS
from roformer.sections import lm_loss

ROOT = Path(__file__).parents[1]
README, FIGURE = ROOT / "README.md", ROOT / "docs" / "images" / "headline.svg"
COMPARISON = ROOT / "docs" / "results" / "compare" / "comparison.json"
TRAINED = "128"  # tokens of a window
LENGTHS = ("256", "512", "2048")
SCALED = "RoPE with YaRN"
HEADER = (
    "| encoding | test loss | Δ vs. RoPE [95% CI]<br>(positive: worse) "
    "| long documents: loss at 128 tokens | Δ at 256 (2x) | Δ at 512 (4x) | Δ at 2,048 (16x) |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    FIGURE.write_text(to_svg(figure(), name="headline"), encoding="utf-8")
    print(FIGURE)


def readme() -> str:
    """Returns the README with the table of today's numbers.

    Raises:
        ValueError: if its place in the README is gone.
    """
    text = README.read_text(encoding="utf-8")
    before, opening, rest = text.partition("<!-- table -->\n\n")
    _, closing, after = rest.partition("\n\n<!-- end -->")
    if not (opening and closing):
        raise ValueError(f"{README.name} has no place for the table between '<!-- table -->' and '<!-- end -->'")
    return before + opening + table() + closing + after


def table() -> str:
    """Returns the table, the lowest test loss first; YaRN's row follows RoPE's."""
    rows = []
    for name, found in encodings().items():
        losses = by_length(found["loss_by_length"])
        difference = in_brackets(found["difference"]["values"]) if found["difference"] else ""
        rows.append([found["title"], f"{found['loss']['mean']:.3f}", difference, *_across(losses)])
        if name == "rope":
            rows.append([SCALED, "", "", *_across(scaled(found))])
    return "\n".join([HEADER, *(f"| {' | '.join(row)} |" for row in rows)])


def encodings() -> dict[str, Any]:
    """Returns the results of each encoding, by test loss, with ``title``, its name."""
    sections = json.loads(COMPARISON.read_text(encoding="utf-8"))["sections"]
    found: dict[str, Any] = defaultdict(dict)
    for section in ("lm_loss", "learning_speed", "length_extrapolation"):
        for name, results in sections[section]["summary"]["encodings"].items():
            found[name].update(results)
    floor = found["none"]["loss"]["mean"] - lm_loss.MARGIN
    for name, results in found.items():
        mark = f" {lm_loss.MARK}" if results["loss"]["mean"] > floor and name != "none" else ""
        results["title"] = display_name(name) + mark
    found["rope"]["rope_scaling"] = sections["rope_scaling"]["summary"]["encodings"]["rope"]
    return dict(sorted(found.items(), key=lambda each: each[1]["loss"]["mean"]))


def by_length(losses: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the loss of each seed for each length of a window, in tokens."""
    return {tokens: np.asarray(losses[tokens]["values"]) for tokens in losses}


def scaled(rope: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the same of RoPE with YaRN, which is RoPE at the training length."""
    trained = rope["loss_by_length"][TRAINED]
    return by_length(
        {TRAINED: trained, **{key: each["loss"] for key, each in rope["rope_scaling"]["rope_yarn"].items()}}
    )


def in_brackets(values: Any) -> str:
    mean, half = _interval(np.asarray(values))
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def _across(losses: Mapping[str, np.ndarray]) -> list[str]:
    """The cells of the lengths: a loss, then changes of it with half the width of their 95 % intervals."""
    changes = (_interval(losses[tokens] - losses[TRAINED]) for tokens in LENGTHS)
    return [f"{losses[TRAINED].mean():.3f}", *(f"{mean:+.2f} ± {half:.2f}" for mean, half in changes)]


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval, Student's t over seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(half)


@themed
def figure() -> Figure:
    """Left, the validation loss during training; right, the change of the test loss with the length of a text."""
    drawn = Figure(figsize=(1000 / POINTS, 360 / POINTS))
    left, right = drawn.subplots(1, 2)
    curve_ends, change_ends = [], []
    for color, (name, found) in zip((*COLORS, "#57606b", "#9a6a6a"), encodings().items(), strict=True):
        curve, losses = found["curve"], by_length(found["loss_by_length"])
        style = {"color": color, "ls": ":" if name == "none" else "-"}
        left.plot(curve["tokens"], curve["mean"], **style)
        curve_ends.append(LineEnd(curve["tokens"][-1], curve["mean"][-1], found["title"], color))
        change_ends.append(_changes(right, found["title"], losses, style))
        if name == "rope":
            change_ends.append(_changes(right, SCALED, scaled(found), {"color": color, "ls": "--"}))
    left.set(xlabel="Training tokens", ylabel="Validation loss (nats per token)", xlim=(0, curve_ends[0].x))
    left.set_ylim(left.get_ylim())
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:.0f} M"))
    right.set(xlabel="Window, in training lengths", ylabel="Change of the loss vs. 1x (nats)", xscale="log")
    right.set(xlim=(1, 16), ylim=right.get_ylim())
    right.set_xticks([1, 2, 4, 8, 16], labels=["1x", "2x", "4x", "8x", "16x"], minor=False)
    right.minorticks_off()
    drawn.subplots_adjust(left=0.055, right=0.87, bottom=0.15, top=0.97, wspace=0.5)
    label_line_ends(left, curve_ends, gap=15)
    label_line_ends(right, change_ends, gap=15)
    return drawn


def _changes(axes: Any, label: str, losses: Mapping[str, np.ndarray], style: Mapping[str, Any]) -> LineEnd:
    factors = [int(tokens) / int(TRAINED) for tokens in losses]
    changes = [float((loss - losses[TRAINED]).mean()) for loss in losses.values()]
    axes.plot(factors, changes, **style)
    return LineEnd(factors[-1], changes[-1], label, style["color"])


if __name__ == "__main__":
    main()
