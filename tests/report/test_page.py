"""The page is whole, safe and self-contained, and comes out the same each time."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from roformer.errors import UserError
from roformer.report.canvas import CSS_COLORS, spread
from roformer.report.figure import Figure
from roformer.report.page import html, markdown, page_parts, write_report
from roformer.results.comparison import comparison_to_json
from roformer.sections import in_page_order
from tests.report.conftest import drop, encodings, loaded, rename, summary

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADS = {"src", "srcset", "data", "poster", "background"}


class Outline(HTMLParser):
    """Collects ids and what would be loaded, and fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loads, self.links, self.tags = [], [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.loads += [values[key] for key in LOADS & values.keys()]
        self.links += [value for key, value in attrs if key in ("href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(comparison, folder):
    return write_report(loaded(comparison), folder, in_page_order())


def page_of(comparison):
    return html(loaded(comparison), in_page_order())


def figures_of(comparison):
    parts = page_parts(loaded(comparison), in_page_order())
    return {block.name: block for part in parts for block in part.blocks if isinstance(block, Figure)}


def test_page_is_self_contained(comparison):
    """Catches a script, a web font, a style sheet or an image that is fetched."""
    text = page_of(comparison)
    outline = Outline(text)
    assert not {"script", "link", "iframe", "img", "object"} & outline.tags
    assert outline.loads == []
    assert not [link for link in outline.links if re.match(r"(\w+:)?//", link)]
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_are_unique_and_references_resolve(comparison):
    """Catches drawings that share clip paths or markers once they stand on one page."""
    text = page_of(comparison)
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    used = {link[1:] for link in outline.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used
    assert used <= set(outline.ids)


def test_drawings_follow_the_theme(comparison):
    """Catches text that stays black on a dark page."""
    drawings = "".join(re.findall(r"<svg.*?</svg>", page_of(comparison), flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) <= {"#000000"}  # black: only definitions that a use recolors
    labels = re.findall(r"<text [^>]*>", drawings)
    assert labels
    assert all("fill: currentColor" in label or "fill: var(" in label for label in labels)
    assert "currentColor" in CSS_COLORS.values()


def test_names_are_escaped(comparison):
    """Catches a name that becomes markup, in tables, drawings, headline or title."""
    name = 'x<b>"&$y$'
    rename(comparison, "sinusoidal", name)
    comparison["title"] = comparison["origin"]["command"] = name
    comparison["groups"][0]["warnings"] = [name]
    text = page_of(comparison)
    Outline(text)
    assert "<b>" not in text
    assert "x&lt;b&gt;" in text


def drop_sections(*names):
    """Removes sections, and keeps the groups of runs."""

    def dropped(comparison):
        for name in names:
            del comparison["sections"][name]

    return dropped


def drop_reference(comparison):
    for place in (*comparison["groups"], *(each["summary"] for each in comparison["sections"].values())):
        place["encodings"].pop("rope", None)
    for section in ("lm_loss", "classification"):
        for result in encodings(comparison, section).values():
            result["difference"] = None
    for result in encodings(comparison, "length_extrapolation").values():
        result["differences_by_length"] = {}
    for name in ("lr_search", "rope_scaling", "long_term_decay", "steps_to_target"):
        del comparison["sections"][name]


def drop_settings(comparison):
    comparison["groups"][0]["settings"] = {}
    comparison["origin"]["git_commit"] = None


def drop_baselines(comparison):
    summary(comparison, "classification")["baselines"] = {}


def drop_equal_time(comparison):
    summary(comparison, "learning_speed")["equal_wall_time"] = None
    for result in encodings(comparison, "learning_speed").values():
        result["loss_at_equal_wall_time"] = None


def test_both_commits_are_shown(comparison):
    """Catches the commit of the training that stands for that of the evaluation."""
    text = page_of(comparison)
    assert "commit of the training</dt><dd><code>abc123<" in text
    assert "commit of this evaluation</dt><dd><code>def456<" in text


DROPS = {
    "language models": lambda comparison: drop(comparison, "language_modeling"),
    "classifiers": lambda comparison: drop(comparison, "classification"),
    "both": lambda comparison: [drop(comparison, family) for family in ("language_modeling", "classification")],
    "lengths": drop_sections("length_extrapolation", "rope_scaling"),
    "probes": drop_sections("lr_search", "rope_scaling", "attention_distance", "long_term_decay", "steps_to_target"),
    "losses": drop_sections("lm_loss"),
    "speeds": drop_sections("learning_speed"),
    "reference": drop_reference,
    "settings": drop_settings,
    "baselines": drop_baselines,
    "equal time": drop_equal_time,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DROPS)
def test_any_part_may_be_missing(comparison, what):
    """Catches a section that cannot do without another."""
    DROPS[what](comparison)
    text = page_of(comparison)
    Outline(text)
    assert "Methodology" in text
    assert "None" not in text
    assert "Undefined" not in text


@pytest.mark.slow
def test_learning_rates_of_a_grid_are_no_shared_hyperparameters(comparison):
    """Catches a page that denies what its table of learning rates shows."""
    assert "share one set of hyperparameters" not in page_of(comparison)
    del comparison["sections"]["lr_search"]
    assert "share one set of hyperparameters" in page_of(comparison)


@pytest.mark.slow
def test_rules_are_claimed_where_they_were_kept(comparison):
    """Catches "the same data" under a warning that they differ, and a grid that only some encodings had."""
    drop(comparison, "classification")
    fair, tuned = "Same data, order, masks and tokens", "In pretraining each encoding has"
    assert fair in page_of(comparison)
    assert "In pretraining RoPE have" in page_of(comparison)
    search = encodings(comparison, "lr_search")["rope"]
    summary(comparison, "lr_search")["encodings"] = dict.fromkeys(encodings(comparison), search)
    assert tuned in page_of(comparison)
    comparison["groups"][0]["warnings"] = ["the runs differ in data.path: a, b"]
    assert fair not in page_of(comparison)


def test_one_seed_has_no_brackets(one_seed):
    text = page_of(one_seed)
    assert 'class="ci"' not in text
    assert "One seed: no bands" in text


def test_an_encoding_without_a_curve_is_missing_in_the_figure(comparison, tmp_path):
    """Catches a traceback where the seeds of an encoding were evaluated at different steps."""
    empty = {"steps": [], "tokens": [], "mean": [], "low": [], "high": []}
    speeds = encodings(comparison, "learning_speed")
    speeds["learned"]["curve"] = empty
    assert "learned" not in figures_of(comparison)["loss_curves"].description
    for name in ("rope", "sinusoidal"):
        speeds[name]["curve"] = empty
    assert "loss_curves" not in figures_of(comparison)
    assert written(comparison, tmp_path).is_file()


def test_synthetic_documents_have_their_figure(synthetic):
    """Catches a heat map that dies where an encoding ends before the others."""
    text = page_of(synthetic)
    Outline(text)
    assert 'id="synthetic_cells"' in text
    assert "place of the pair" in text


@pytest.mark.slow
def test_many_encodings(comparison):
    """Catches labels that leave the figure when there are more lines than colors."""
    sections = ("lm_loss", "learning_speed", "length_extrapolation", "attention_distance")
    for place in (comparison["groups"][0], *(summary(comparison, name) for name in sections)):
        place["encodings"] |= {f"encoding_{i}": place["encodings"]["learned"] for i in range(15)}
    assert "encoding 14" in page_of(comparison)


def test_labels_are_apart_and_inside():
    """Catches labels that overlap, or that are pushed out of the axes."""
    rows = spread([0.01, 0.02, 0.02, 0.5, 0.99, 1.0], 0.05)
    assert min(b - a for a, b in pairwise(rows)) > 0.05 - 1e-9
    assert min(rows) >= 0
    assert max(rows) <= 1
    assert rows[3] == pytest.approx(0.5)


@pytest.mark.slow
def test_files_exist_and_stale_figures_go(comparison, tmp_path):
    written(comparison, tmp_path)
    probes = {"loss_by_length", "loss_by_position", "attention_distance", "long_term_decay", "steps_to_target"}
    names = {
        "ranking",
        "cost",
        "loss_curves",
        "accuracy",
        "rotation",
        "relative_upper_bound",
        "long_term_decay",
        *probes,
    }
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{n}.{e}" for n in names for e in ("svg", "png")
    }
    assert (tmp_path / "tables.md").read_text(encoding="utf-8").count("## Table") == 10
    drop(comparison, "language_modeling")
    written(comparison, tmp_path)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"accuracy", "rotation", "relative_upper_bound"}


@pytest.mark.slow
def test_same_input_same_bytes(comparison, tmp_path):
    """Catches random ids and dates, which would make every report a change in version control."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        written(comparison, folder)
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert first == second


def test_unreadable_comparisons_are_refused(comparison):
    """Catches a comparison of another version that is shown as if it were of this one."""
    with pytest.raises(UserError, match="schema_version 3, allowed is"):
        loaded({**comparison, "schema_version": 3})
    with pytest.raises(UserError, match="unknown section 'lm_los'"):
        loaded({**comparison, "sections": {"lm_los": {}}})
    encodings(comparison)["rope"]["los"] = encodings(comparison)["rope"].pop("loss")
    with pytest.raises(UserError, match=r"lm_loss.encodings.rope has the keys .* los, .*, expected .* loss, "):
        loaded(comparison)
    comparison["sections"]["lm_loss"]["version"] += 1
    with pytest.raises(UserError, match=r"version .* of section 'lm_loss', allowed is"):
        loaded(comparison)
    del comparison["sections"]["lm_loss"], comparison["groups"]
    with pytest.raises(UserError, match="no 'groups'"):
        loaded(comparison)


def test_what_is_written_is_read_back(comparison):
    """Catches a number that changes, or a key that turns from a number into text, on its way through JSON."""
    first = loaded(comparison)
    versions = {name: section.version for name, section in in_page_order()}
    assert comparison_to_json(first, versions) == comparison
    assert loaded(comparison_to_json(first, versions)) == first


def test_tables_hold_no_html_of_others(comparison):
    """Catches a script in the title or the machine's name of somebody's results, on a site that shows tables.md."""
    comparison["title"] = "<script>alert(1)</script>"
    comparison["origin"]["hardware"]["cpu"] = "<img src=x onerror=alert(1)>"
    comparison["origin"]["command"] = "evaluate.py `<script>`"
    text = markdown(loaded(comparison), in_page_order())
    shown = re.sub(r"`[^`]*`|\\<", "", text)
    assert "<" not in shown
