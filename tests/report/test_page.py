"""The page is whole, safe and self-contained, and comes out the same each time."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from roformer.errors import UserError
from roformer.report.canvas import CSS_COLORS, spread
from roformer.report.figures import all_figures
from roformer.report.page import write_report

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


def page_of(comparison, folder):
    return write_report(comparison, folder).read_text(encoding="utf-8")


def test_page_is_self_contained(comparison, tmp_path):
    """Catches a script, a web font, a style sheet or an image that is fetched."""
    text = page_of(comparison, tmp_path)
    outline = Outline(text)
    assert not {"script", "link", "iframe", "img", "object"} & outline.tags
    assert outline.loads == []
    assert not [link for link in outline.links if re.match(r"(\w+:)?//", link)]
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_are_unique_and_references_resolve(comparison, tmp_path):
    """Catches drawings that share clip paths or markers once they stand on one page."""
    text = page_of(comparison, tmp_path)
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    used = {link[1:] for link in outline.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used
    assert used <= set(outline.ids)


def test_drawings_follow_the_theme(comparison, tmp_path):
    """Catches text that stays black on a dark page."""
    drawings = "".join(re.findall(r"<svg.*?</svg>", page_of(comparison, tmp_path), flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) <= {"#000000"}  # black: only definitions that a use recolors
    labels = re.findall(r"<text [^>]*>", drawings)
    assert labels
    assert all("fill: currentColor" in label or "fill: var(" in label for label in labels)
    assert "currentColor" in CSS_COLORS.values()


def test_names_are_escaped(comparison, tmp_path):
    """Catches a name that becomes markup, in tables, drawings, headline or title."""
    name = 'x<b>"&$y$'
    for part in ("lm", "classification"):
        encodings = comparison[part]["encodings"]
        comparison[part]["encodings"] = {name: encodings.pop("sinusoidal"), "rope": encodings["rope"]}
    comparison["title"] = comparison["command"] = name
    comparison["lm"]["warnings"] = [name]
    text = page_of(comparison, tmp_path)
    Outline(text)
    assert "<b>" not in text
    assert "x&lt;b&gt;" in text


def drop_lm(comparison):
    comparison["lm"] = None


def drop_classification(comparison):
    comparison["classification"] = None


def drop_both(comparison):
    comparison["lm"] = comparison["classification"] = None


def drop_lengths(comparison):
    for result in comparison["lm"]["encodings"].values():
        result.update(loss_by_length={}, loss_by_position=[], loss_sliding=None, stretching=None)


def drop_probes(comparison):
    comparison["lm"].update(learning_rates=None, equal_time=None)
    for result in comparison["lm"]["encodings"].values():
        result.update(stretching=None, attention_distance=None, decay=None, loss_at_equal_time=None)


def drop_reference(comparison):
    for part in ("lm", "classification"):
        del comparison[part]["encodings"]["rope"]
        for result in comparison[part]["encodings"].values():
            result["difference"] = None
        for result in comparison["lm"]["encodings"].values():
            result["race"] = None


def test_both_commits_are_told(comparison, tmp_path):
    """Catches the commit of the training that stands for that of the evaluation."""
    text = write_report(comparison, tmp_path).read_text()
    assert "commit of the training</dt><dd><code>abc123<" in text
    assert "commit of this evaluation</dt><dd><code>def456<" in text


def drop_settings(comparison):
    comparison["lm"]["settings"] = {}
    comparison["git_commit"] = None


def drop_baselines(comparison):
    comparison["classification"]["baselines"] = {}


DROPS = [
    drop_lm,
    drop_classification,
    drop_both,
    drop_lengths,
    drop_probes,
    drop_reference,
    drop_settings,
    drop_baselines,
]


@pytest.mark.parametrize("drop", DROPS)
def test_any_part_may_be_missing(comparison, tmp_path, drop):
    drop(comparison)
    text = page_of(comparison, tmp_path)
    Outline(text)
    assert "How this was measured" in text
    assert "None" not in text
    assert "Undefined" not in text


def test_learning_rates_of_a_grid_are_no_shared_hyperparameters(comparison, tmp_path):
    """Catches a page that denies what its table of learning rates shows."""
    assert "share one set of hyperparameters" not in page_of(comparison, tmp_path)
    comparison["lm"]["learning_rates"] = None
    assert "share one set of hyperparameters" in page_of(comparison, tmp_path)


def test_rules_are_claimed_where_they_were_kept(comparison, tmp_path):
    """Catches "the same data" under a warning that they differ, and a grid that some of the encodings had."""
    comparison["classification"] = None
    fair, tuned = "Same data, order, masks and tokens", "each with the best learning rate"
    assert fair in page_of(comparison, tmp_path)
    assert tuned not in page_of(comparison, tmp_path)
    mlm = comparison["lm"]
    mlm["learning_rates"] = dict.fromkeys(mlm["encodings"], mlm["learning_rates"]["rope"])
    assert tuned in page_of(comparison, tmp_path)
    mlm["warnings"] = ["the runs differ in data.path: a, b"]
    assert fair not in page_of(comparison, tmp_path)


def test_one_seed_has_no_brackets(one_seed, tmp_path):
    text = page_of(one_seed, tmp_path)
    assert 'class="ci"' not in text
    assert "One seed: no bands" in text


def test_an_encoding_without_a_curve_is_left_out_of_the_figure(comparison, tmp_path):
    """Catches a traceback where the seeds of an encoding were evaluated at different steps."""
    empty = {"steps": [], "tokens": [], "mean": [], "low": [], "high": []}
    comparison["lm"]["encodings"]["learned"]["curve"] = empty
    drawn = {figure.name: figure for figure in all_figures(comparison)}
    assert "learned" not in drawn["loss_curves"].description
    for name in ("rope", "sinusoidal"):
        comparison["lm"]["encodings"][name]["curve"] = empty
    assert "loss_curves" not in {figure.name for figure in all_figures(comparison)}
    assert write_report(comparison, tmp_path).is_file()


def test_synthetic_documents_have_their_figure(synthetic, tmp_path):
    """Catches a heat map that dies where an encoding ends before the others."""
    text = page_of(synthetic, tmp_path)
    Outline(text)
    assert 'id="synthetic_cells"' in text
    assert "place of the pair" in text


def test_many_encodings(comparison, tmp_path):
    """Catches labels that leave the figure when there are more lines than colors."""
    encodings = comparison["lm"]["encodings"]
    encodings |= {f"encoding_{i}": encodings["learned"] for i in range(15)}
    assert "encoding 14" in page_of(comparison, tmp_path)


def test_labels_are_apart_and_inside():
    """Catches labels that overlap, or that are pushed out of the axes."""
    rows = spread([0.01, 0.02, 0.02, 0.5, 0.99, 1.0], 0.05)
    assert min(b - a for a, b in pairwise(rows)) > 0.05 - 1e-9
    assert min(rows) >= 0
    assert max(rows) <= 1
    assert rows[3] == pytest.approx(0.5)


def test_files_exist_and_stale_figures_go(comparison, tmp_path):
    write_report(comparison, tmp_path)
    probes = {"loss_by_length", "loss_by_position", "attention_distance"}
    names = {"ranking", "cost", "loss_curves", "accuracy", "rotation", "relative_upper_bound", "decay", *probes}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{n}.{e}" for n in names for e in ("svg", "png")
    }
    assert (tmp_path / "tables.md").read_text(encoding="utf-8").count("## Table") == 8
    comparison["lm"] = None
    write_report(comparison, tmp_path)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"accuracy", "rotation", "relative_upper_bound"}


def test_same_input_same_bytes(comparison, tmp_path):
    """Catches random ids and dates, which would make every report a change in version control."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        write_report(comparison, folder)
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert first == second


def test_unreadable_comparisons_are_refused(comparison, tmp_path):
    with pytest.raises(UserError, match="schema_version 3, allowed is 4"):
        write_report({**comparison, "schema_version": 3}, tmp_path)
    del comparison["lm"]
    with pytest.raises(UserError, match="no 'lm'"):
        write_report(comparison, tmp_path)
