"""The tables hold the numbers of the comparison, written one way, in both renderings."""

import json
import math

import pytest

from roformer.report.numbers import fixed, probability, with_interval
from roformer.report.page import page_parts
from roformer.report.table import Table, to_html, to_markdown
from roformer.results.intervals import Interval
from roformer.sections import in_page_order
from roformer.sections.published_decoders import shape
from tests.report.conftest import difference_of, drop, encodings, loaded, rename, summary
from tests.tiny_runs import ROOT


def by_name(comparison):
    parts = page_parts(loaded(comparison), in_page_order())
    return {block.name: block for part in parts for block in part.blocks if isinstance(block, Table)}


def test_numbers_are_written_one_way():
    """Catches wrong decimals, a lost thousands separator and a negative zero."""
    assert with_interval(Interval((1, 2), 4.6304, 4.6101, 4.6499), 2) == "4.63 [4.61, 4.65]"
    assert with_interval(Interval((1, 2), 4.6304, None, None), 3) == "4.630"
    assert with_interval(None, 3) == "\u2013"
    assert fixed(21_345.4, 0) == "21,345"
    assert fixed(-0.0004, 3) == "0.000"
    assert fixed(-0.25, 2, signed=True) == "\u22120.25"
    assert [probability(p) for p in (0.0004, 0.027, None)] == ["< 0.001", "0.027", "\u2013"]


def test_each_seed_of_a_translation_has_its_sign():
    """Catches two seeds that differ to either side and are read as two that agree."""
    comparison = json.loads((ROOT / "docs/results/translation/comparison.json").read_text())
    sinusoidal = encodings(comparison, "translation")["sinusoidal"]
    sinusoidal["difference"]["values"][1], sinusoidal["bootstrap"][1] = 4.205, 0.0134
    (_, row) = by_name(comparison)["translation"].rows
    assert row[3] == "\u22123.17 (< 0.001), +4.21 (0.013), \u22123.84 (< 0.001)"


@pytest.mark.parametrize("render", [to_markdown, to_html])
def test_renderings_hold_the_numbers(comparison, render):
    """Catches a column that is dropped, or filled from another metric."""
    text = {name: render(table) for name, table in by_name(comparison).items()}
    loss = encodings(comparison)["sinusoidal"]["loss"]
    assert f"{loss['mean']:.3f}" in text["lm_loss"]
    assert f"[{loss['low']:.3f}, {loss['high']:.3f}]" in text["lm_loss"]
    assert "+0.730" in text["lm_loss"]
    assert "1,234,567" in text["lm_loss"]
    assert "MLM test loss" in text["lm_loss"]
    assert "2.07\u00d7" in text["steps_to_target"]
    assert "21,195" in text["learning_speed"]
    assert "512 (4\u00d7)" in text["extrapolation"]
    assert "71.3" in text["classification"]
    assert "TF-IDF + logistic regression" in text["classification"]
    assert "2.14, 1.30, 1.43, 2.17" in text["published_bert"]
    assert "4.600 (selected)" in text["learning_rates"]
    assert "Loss after 88 s" in text["learning_speed"]
    sliding = encodings(comparison, "length_extrapolation")["rope"]["sliding_window_loss"]
    assert f"{sliding['mean']:.3f}" in text["extrapolation"]


def test_stretched_rotations_stand_beside_none(comparison):
    """Catches a difference in another column, or a p that is not corrected."""
    table = by_name(comparison)["rope_scaling"]
    shorter, longer = (f"{n} ({n // 128}\u00d7)" for n in (256, 512))
    assert table.columns == ("Scaling", shorter, "\u0394 vs. none at 256", longer, "\u0394 vs. none at 512")
    none, yarn = table.rows
    assert (none[0], none[2], yarn[0]) == ("none", "\u2013", "YaRN")
    assert yarn[2].startswith("\u22120.050 [")
    losses = encodings(comparison, "rope_scaling")["rope"]["rope_yarn"]
    assert yarn[3].startswith(f"{losses['512']['loss']['mean']:.3f}")


def test_lengths_stand_beside_the_reference(comparison):
    """Catches a row of the reference, p of another length, and a length that an encoding does not take."""
    losses, lengths = encodings(comparison), encodings(comparison, "length_extrapolation")
    lengths["learned"]["differences_by_length"] = {"128": losses["learned"]["difference"]}
    lengths["sinusoidal"]["differences_by_length"]["512"] = difference_of([0.25])
    table = by_name(comparison)["beyond_reference"]
    assert table.columns == ("Encoding", "128 (1\u00d7)", "256 (2\u00d7)", "512 (4\u00d7)")
    assert [row[0] for row in table.rows] == ["learned", "sinusoidal"]
    assert [row[-1] for row in table.rows] == ["\u2013", "+0.250"]
    assert table.rows[1][1].startswith("+0.730 [")


def test_two_kinds_of_rope_are_stretched_apart(comparison):
    names = ("lm_loss", "learning_speed", "length_extrapolation", "rope_scaling")
    for place in (comparison["groups"][0], *(summary(comparison, name) for name in names)):
        place["encodings"]["rope (rope_theta=100)"] = place["encodings"]["rope"]
    rows = by_name(comparison)["rope_scaling"].rows
    assert [row[0] for row in rows][2:] == ["RoPE (rope_theta=100): none", "RoPE (rope_theta=100): YaRN"]


def test_rows_that_were_never_trained_are_named(comparison):
    """Catches a table of positions whose random rows pass for extrapolation."""
    assert "never trained" not in by_name(comparison)["extrapolation"].note
    learned = encodings(comparison, "length_extrapolation")["learned"]
    learned["loss_by_length"]["256"] = encodings(comparison)["learned"]["loss"]
    assert "learned: rows beyond 128 tokens were never trained" in by_name(comparison)["extrapolation"].note


@pytest.mark.parametrize(("max_distance", "told"), [(128, True), (127, False)])
def test_the_farthest_distance_may_be_untrained(comparison, max_distance, told):
    """Catches a row of DeBERTa's table that only longer texts read and that passes for extrapolation."""
    rename(comparison, "sinusoidal", "deberta")
    comparison["groups"][0]["encodings"]["deberta"]["position"] = {"name": "deberta", "max_distance": max_distance}
    assert ("DeBERTa: the farthest row" in by_name(comparison)["extrapolation"].note) == told
    assert "of 31 documents" in by_name(comparison)["extrapolation"].note


def test_causal_models_stand_beside_published_ones(comparison):
    """Catches losses that are not exponentiated, ratios to another length, and masked models beside decoders."""
    assert "published_decoders" not in by_name(comparison)
    summary(comparison, "lm_loss")["unit"] = "token"
    table = by_name(comparison)["published_decoders"]
    assert table.columns[:4] == ("Encoding", "256 (2\u00d7)", "Chi et al.", "512 (4\u00d7)")
    rows = {row[0]: row for row in table.rows}
    ratios = (math.exp(0.175), 32.8 / 24.2, math.exp(0.35), 62.4 / 24.2)
    assert rows["RoPE"][1:5] == tuple(f"{ratio:.2f}" for ratio in ratios)
    assert rows["RoPE"][5] == rows["learned"][1] == rows["learned"][2] == "\u2013"
    assert rows["RoPE"][-2:] == ("rises", "rises")


@pytest.mark.parametrize(
    ("perplexities", "told"),
    [
        ((1.0,), "\u2013"),
        ((1.0, 1.5, 2.0), "rises"),
        ((1.0, 0.9, 2.0), "falls to 2\u00d7, then rises"),
        ((1.0, 0.9, 0.89, 2.0), "falls to 2\u00d7, then holds to 4\u00d7, then rises"),
        ((1.0, 0.99, 1.005), "holds"),
        ((1.0, 0.99, 1.05), "holds to 2\u00d7, then rises"),
        ((1.0, 0.9, 0.8), "falls to 4\u00d7"),
        ((1.0, 0.9, 0.89), "falls to 2\u00d7, then holds"),
        ((1.0, 5.0, 1.0), "varies"),
        ((1.0, 3.0, 0.9), "varies"),
        ((1.0, 0.5, 3.0, 2.0), "varies"),
    ],
)
def test_the_shape_of_a_curve(perplexities, told):
    assert shape({2**place: each for place, each in enumerate(perplexities)}) == told


def test_a_length_that_was_left_out_moves_no_other(comparison):
    """Catches a ratio at 4x that is compared with a published one at 2x."""
    summary(comparison, "lm_loss")["unit"] = "token"
    for result in encodings(comparison, "length_extrapolation").values():
        result["loss_by_length"].pop("256", None)
    (row, *_) = by_name(comparison)["published_decoders"].rows
    assert row[1:5] == ("\u2013", f"{32.8 / 24.2:.2f}", f"{math.exp(0.35):.2f}", f"{62.4 / 24.2:.2f}")
    for result in encodings(comparison, "length_extrapolation").values():
        result["loss_by_length"].pop("128")
    assert "published_decoders" not in by_name(comparison)


def test_synthetic_lengths(synthetic):
    """Catches a length that an encoding cannot take and that is filled from another."""
    table = by_name(synthetic)["synthetic"]
    assert table.columns == ("Encoding", "30 (2\u00d7)", "60 (4\u00d7)")
    guess = ("baseline: most frequent label", "12.5", "25.0")
    assert table.rows == (("RoPE", "60.0", "70.0"), ("sinusoidal", "60.0", "\u2013"), guess)


def test_a_length_that_was_not_measured_is_a_dash(comparison):
    rows = {row[0]: row for row in by_name(comparison)["extrapolation"].rows}
    assert rows["learned"][2:5] == ("\u2013", "\u2013", "\u2013")


def test_note_says_what_the_interval_is_over(comparison, one_seed):
    """Catches an interval over test examples that is sold as one over seeds."""
    tables = by_name(comparison)
    assert "over the seeds" in tables["lm_loss"].note
    assert "over the test examples" in tables["classification"].note
    assert "One seed: no interval" in by_name(one_seed)["lm_loss"].note


def test_warnings_stay_with_their_table(comparison):
    comparison["groups"][0]["warnings"] = ["runs differ in learning_rate"]
    assert "runs differ in learning\\_rate" in to_markdown(by_name(comparison)["lm_loss"])


def test_names_cannot_break_a_table(comparison):
    """Catches a pipe that adds a Markdown column, and markup in a name."""
    rename(comparison, "learned", "a|<b>")
    table = by_name(comparison)["lm_loss"]
    assert "a\\|\\<b\\>" in to_markdown(table)
    assert "a|&lt;b&gt;" in to_html(table)


def test_missing_parts_leave_no_table(comparison):
    """Catches an empty table of what was not measured."""
    drop(comparison, "language_modeling")
    assert list(by_name(comparison)) == ["classification"]
    drop(comparison, "classification")
    assert by_name(comparison) == {}


def test_p_is_shown_where_there_is_one(comparison):
    """Catches a column of dashes with few seeds, a p that is not corrected, and one in an exploratory table."""
    tables = by_name(comparison)
    assert tables["lm_loss"].columns[3] == "p"
    assert tables["lm_loss"].rows[1][3] == "< 0.001"
    assert not any("p" in tables[name].columns for name in ("steps_to_target", "beyond_reference", "rope_scaling"))
    for result in encodings(comparison).values():
        if result["difference"]:
            result["difference"]["p_holm"] = None
    assert "p" not in by_name(comparison)["lm_loss"].columns


def test_encodings_that_have_not_begun_to_use_order_are_marked(comparison):
    """Catches a plateau that is read as the quality of an encoding."""
    assert not any("\u2020" in row[0] for row in by_name(comparison)["lm_loss"].rows)
    rename(comparison, "learned", "none")
    encodings(comparison)["none"]["loss"]["mean"] = 5.5
    table = by_name(comparison)["lm_loss"]
    assert [row[0] for row in table.rows] == ["RoPE", "no positions", "sinusoidal \u2020"]
    assert "\u2020: has hardly begun to use word order" in table.note
    summary(comparison, "lm_loss")["unit"] = "token"  # a causal model finds positions by itself
    assert not any("\u2020" in row[0] for row in by_name(comparison)["lm_loss"].rows)


def test_bimodal_seeds_are_listed(comparison):
    """Catches an interval over seeds of which one has left a plateau."""
    encodings(comparison)["learned"]["loss"]["values"] = [5.82, 5.54, 5.81]
    table = by_name(comparison)["lm_loss"]
    assert next(row[1] for row in table.rows if row[0] == "learned").endswith("(seeds: 5.820, 5.540, 5.810)")
    assert "fall into two groups" in table.note


def test_the_overview_compares_the_same_tokens(comparison):
    """Catches a loss at a length beside one of other tokens, and changes that are not paired by seed."""
    table = by_name(comparison)["overview"]
    assert table.columns[1:] == (
        "Loss at 128", "\u0394 vs. RoPE [95% CI] (positive: worse than RoPE)", "256 (2\u00d7)", "512 (4\u00d7)",
        "Parameters", "Minutes per run",
    )  # fmt: skip
    rope = table.rows[0]
    assert rope[0] == "RoPE"
    assert rope[3].startswith("+0.175")
    assert rope[4].startswith("+0.350")
    assert rope[5:] == ("1,234,567", f"{4096 * 600 / 21195 / 60:.1f}")
    rows = {row[0]: row for row in table.rows}
    assert rows["learned"][3:5] == ("\u2013", "\u2013")


def test_intervals_over_documents_are_shown_where_they_are_known(comparison):
    """Catches an interval over seeds that is taken for one over other test documents."""
    assert not any("documents" in column for column in by_name(comparison)["lm_loss"].columns)
    for result in encodings(comparison).values():
        result["loss_bounds"] = {"low": 4.0, "high": 5.0}
        result["difference_bounds"] = result["difference"] and {"low": -0.5, "high": 0.25}
    table = by_name(comparison)["lm_loss"]
    place = table.columns.index("Loss: CI over seeds and documents")
    assert table.columns[place + 1].endswith("CI over seeds and documents")
    assert [row[place : place + 2] for row in table.rows[:2]] == [
        ("[4.000, 5.000]", "\u2013"), ("[4.000, 5.000]", "[\u22120.500, +0.250]"),
    ]  # fmt: skip
    assert "two-way bootstrap" in table.note
