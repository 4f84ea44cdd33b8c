"""The page of the paper's results: made from the numbers, whole, and with commands that exist."""

import re
import shlex
from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from scipy import stats

from roformer.config import TrainConfig
from roformer.sections import length_extrapolation
from roformer.theory import relative_upper_bound
from roformer.tokenizer import TOKENIZERS
from roformer.training.validation import validate
from tests.tiny_runs import ROOT, composed
from tools.reproduction_page import IMAGES, PAGE, ROWS, cells, comparison, figure2, group, page

CONTENT = yaml.safe_load(ROWS.read_text())


def test_the_page_is_that_of_the_results():
    """Catches a page that somebody typed into, or that is out of date."""
    assert page() == PAGE.read_text()


PAPER = {
    "Figure 3 left": ["2.20; 2.02", "2.38; 2.16"],
    "Table 2": [
        "RoFormer 89.5, BERT 88.9", "RoFormer 90.7, BERT 93.5", "RoFormer 88.0, BERT 90.5", "RoFormer 87.0, BERT 85.8",
        "RoFormer 86.4, BERT 71.2", "RoFormer 80.2, BERT 84.6", "RoFormer 79.8, BERT 83.4",
    ],
    "Table 3": ["words, RoPE", "characters, words, characters; absolute, absolute, relative"],
    "Table 4": [
        "loss 1.73, accuracy 65.0 %", "loss 1.61, accuracy 66.8 %", "loss 1.75, accuracy 64.6 %",
        "loss 1.83, accuracy 63.4 %", "loss 1.58, accuracy 67.4 %", "loss 1.66, accuracy 66.2 %",
    ],
    "Table 5": ["64.13; 67.77", "64.07; 68.10", "64.13; 68.29", "66.07; 69.79"],
    "Table 1": ["RoFormer 27.5, Transformer 27.3"],
    "Figure 3 right": ["1.21; 1.31"],
}  # fmt: skip


@pytest.mark.parametrize("place", PAPER)
def test_every_row_of_the_paper_is_there(place):
    """Catches a row of a table of the paper that is omitted, or in the wrong place."""
    (content,) = [each for each in CONTENT["groups"] if f"{place})" in each["title"]]
    rows = [str(row["paper"]) for row in content["rows"]]
    assert rows[: len(PAPER[place])] == PAPER[place]
    assert all(cells(row)[-1] for row in content["rows"])


def test_a_row_without_numbers_needs_a_status():
    with pytest.raises(ValueError, match="'a' has no numbers in results, and no status"):
        cells({"result": "a", "paper": 1})
    assert cells({"result": "a", "paper": 1, "status": "not run"}) == ["a", "1", "–", "–", "not run"]


def test_numbers_come_with_their_seeds():
    """Catches an interval of another encoding, and shares that are not of the first value."""
    learned = {"of": "compare", "place": "lm_loss.encodings.learned.difference", "decimals": 3}
    (_, _, value, seeds, status) = cells({"result": "a", "paper": 1, "ours": learned})
    assert (value, seeds, status) == ("+1.930 [+1.911, +1.949]", "5", "smaller run")  # docs/results/compare
    beyond = cells({"result": "a", "paper": 1, "ours": {"of": "compare", "beyond": "alibi"}})
    losses = comparison("compare").get(length_extrapolation.Summary).encodings["alibi"].loss_by_length
    assert beyond[3] == "5"
    found = re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", beyond[2])
    for length, (mean, low, high) in zip((256, 512, 1024, 2048), found, strict=True):
        higher = np.subtract(losses[length].values, losses[128].values)
        half = stats.t.ppf(0.975, 4) * higher.std(ddof=1) / 5**0.5
        expected = np.exp(higher.mean() + half * np.array([0, -1, 1]))
        assert [float(mean), float(low), float(high)] == pytest.approx(expected, abs=0.006)
    bounds = {"of": "compare", "decay": "bounds", "at": [0, 256]}
    factor = relative_upper_bound([0, 256], head_size=32, base=10_000.0)
    assert cells({"result": "a", "paper": 1, "ours": bounds})[2] == f"1.00, {factor[1] / factor[0]:.2f}"


def test_hours():
    """Catches seconds for hours: 110 million parameters and 3.3 billion tokens are 2.2e18 operations."""
    full = {"command": "x", "parameters": 110e6, "tokens": 3.3e9, "runs": 3}
    assert "3 runs with about 1.5 H100 hours in all:" in group({"title": "a", "rows": [], "full": full})
    large = {**full, "runs": 1, "tokens": 56e9, "note": "after b"}
    assert "At full size, about 26 H100 hours in all, after b:" in group({"title": "a", "rows": [], "full": large})


@pytest.mark.parametrize("title", [each["title"] for each in CONTENT["groups"] if each.keys() & {"reduced", "full"}])
def test_commands_are_real(title):
    """Catches a command that names a recipe or a setting that there is none of, or that cannot work; and fewer seeds
    than the page has."""
    content = next(content for content in CONTENT["groups"] if content["title"] == title)
    text = "\n".join([content.get("reduced", ""), content.get("full", {}).get("command", "")])
    text = text.replace("\\\n", " ").replace("stage$n", "stage3")
    small = re.search(r"^small=\(([^)]+)\)", text, flags=re.MULTILINE)
    text = text.replace('"${small[@]}"', " ".join(small[1].split()) if small else "")
    commands = [shlex.split(command, comments=True) for command in re.findall(r"python [^;\n]+", text)]
    scripts = {command[1] for command in commands} - {"-m"}
    assert scripts
    assert scripts <= {"train.py", "evaluate.py"}
    assert "full" not in content or any(command[1] == "train.py" for command in commands)
    for command in commands:
        if command[1] == "-m":
            assert find_spec(command[2])
            continue
        overrides = [word for word in command[2:] if "=" in word]
        if command[1] == "evaluate.py":
            assert composed("evaluate", *overrides).runs
            continue
        (recipe,) = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
        own = yaml.safe_load((ROOT / f"conf/experiment/{recipe}.yaml").read_text())
        if "seed=" not in " ".join(overrides) and "-m" in command:
            swept = own["hydra"]["sweeper"]["params"]["seed"]
            counts = [int(seeds) for *_, seeds, _ in map(cells, content["rows"]) if seeds != "–"]
            assert not counts or swept == f"range(1,{1 + max(counts)})"
        parsed = OverridesParser.create().parse_overrides(overrides)
        choices = [list(each.sweep_string_iterator()) if each.is_sweep_override() else [None] for each in parsed]
        for number in range(max(map(len, choices))):
            chosen = [
                word if options == [None] else f"{each.key_or_group}={options[min(number, len(options) - 1)]}"
                for word, each, options in zip(overrides, parsed, choices, strict=True)
            ]
            missing = [] if "glue" not in recipe or "data.glue_task" in " ".join(chosen) else ["data.glue_task=rte"]
            config = TrainConfig.from_hydra(composed("train", *chosen, *missing))
            validate(config)
            TOKENIZERS.build(config.tokenizer)
            assert config.init_from is None or not any(word.startswith("tokenizer") for word in chosen)


def test_figure_2_is_the_formula_to_a_hundredth():
    """Points of another program lie on the line that the figure draws."""
    line, points = figure2(CONTENT).axes[0].lines
    curve = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert len(points.get_xdata()) >= 7
    for distance, value in zip(points.get_xdata(), points.get_ydata(), strict=True):
        assert curve[distance] == pytest.approx(value, abs=0.01)


def test_images_exist():
    shown = re.findall(r"\]\(images/(\w+)\.svg\)", PAGE.read_text())
    assert shown == ["figure2", "figure3", "figure3_right"]
    for name in shown:
        assert (IMAGES / f"{name}.svg").read_text().startswith("<?xml")
