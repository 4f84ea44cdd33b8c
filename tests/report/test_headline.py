"""The headline claims a difference only where the paired interval over two seeds or more shows one."""

import pytest

from roformer.report.headline import conclusions, headline, key_figures
from roformer.report.numbers import excludes


def set_difference(comparison, name, mean, half, p_holm=0.001):
    """Three paired seeds whose difference has this mean and half-width."""
    difference = {"values": [mean] * 3, "mean": mean, "low": mean - half, "high": mean + half, "p_holm": p_holm}
    comparison["lm"]["encodings"][name]["difference"] = difference


def set_ratio(comparison, name, mean, half, p_holm=0.001):
    ratio = {"values": [mean] * 3, "mean": mean, "low": mean - half, "high": mean + half, "p_holm": p_holm}
    comparison["lm"]["encodings"][name]["race"]["ratio"] = ratio


def test_clear_difference(comparison):
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    assert headline(comparison) == (
        "RoPE reaches the same validation loss in 2.1\u00d7 fewer steps than sinusoidal and ends 0.73 nats lower "
        "(95 % CI 0.70 to 0.76, 3 paired seeds)."
    )


def test_reference_that_is_clearly_worse(comparison):
    """Catches a headline that can only praise the reference."""
    set_difference(comparison, "sinusoidal", -0.2, 0.05)
    set_ratio(comparison, "sinusoidal", 0.5, 0.1)
    assert headline(comparison) == (
        "RoPE needs 2.0\u00d7 the steps of sinusoidal to reach the same validation loss and ends 0.20 nats higher "
        "(95 % CI 0.15 to 0.25, 3 paired seeds)."
    )


def test_no_difference(comparison):
    set_difference(comparison, "sinusoidal", 0.01, 0.03)
    set_ratio(comparison, "sinusoidal", 1.02, 0.1)
    assert headline(comparison) == (
        "Between RoPE and sinusoidal no difference beyond the seed spread is visible "
        "(0.010 nats apart; 95 % CI \u22120.020 to 0.040, 3 paired seeds)."
    )


def test_faster_but_no_lower(comparison):
    set_difference(comparison, "sinusoidal", 0.01, 0.03)
    assert "2.1\u00d7 fewer steps than sinusoidal, but in the final test loss no difference" in headline(comparison)


def test_a_speed_is_corrected_for_many(comparison):
    """Catches a speed that is claimed by its own interval, though it is the best of many."""
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    set_ratio(comparison, "sinusoidal", 1.5, 0.1, p_holm=0.07)
    assert headline(comparison).startswith("RoPE ends 0.73 nats lower")


def test_a_race_that_nobody_saw(comparison):
    """Catches a page that cannot do without a ratio."""
    comparison["lm"]["encodings"]["sinusoidal"]["race"] = None
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    assert headline(comparison).startswith("RoPE ends 0.73 nats lower")
    assert not any("steps to the same loss" in tile.label for tile in key_figures(comparison))


def test_lower_but_not_faster(comparison):
    set_difference(comparison, "sinusoidal", 0.2, 0.05)
    set_ratio(comparison, "sinusoidal", 1.02, 0.1)
    assert headline(comparison).startswith("RoPE ends 0.20 nats lower than sinusoidal (95 % CI 0.15 to 0.25")


def test_a_third_encoding_that_beats_the_reference_is_named(comparison):
    """Catches a headline that hides the winner behind a weak baseline."""
    set_difference(comparison, "learned", -0.05, 0.01)
    assert "; learned ends 0.050 nats lower than RoPE (95 % CI 0.040 to 0.060" in headline(comparison)


def test_one_seed(one_seed):
    text = headline(one_seed)
    assert text.startswith("One seed: no claim;")
    assert "fewer" not in text


def test_one_seed_with_an_interval_over_examples_is_still_no_claim(comparison):
    """Catches an interval over test examples that passes for seed spread."""
    comparison["lm"] = None
    assert headline(comparison).startswith("One seed: no claim; RoPE classifies 71.3 % of the test documents")


def test_the_best_of_many_is_named_only_if_it_stands_correction(comparison):
    """Catches a winner among many encodings that one test in twenty finds by chance."""
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.04)
    assert "learned ends 0.050 nats lower" in headline(comparison)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.06)
    assert "learned" not in headline(comparison)


def test_only_classification_with_seeds(comparison):
    comparison["lm"] = None
    difference = {"values": [-0.03, -0.034], "mean": -0.032, "low": -0.05, "high": -0.014, "p_holm": 0.01}
    comparison["classification"]["encodings"]["sinusoidal"]["difference"] = difference
    assert headline(comparison) == (
        "RoPE classifies 71.3 % of the test documents correctly, 3.2 points more than sinusoidal "
        "(95 % CI 1.4 to 5.0, 2 paired seeds)."
    )
    difference["p_holm"] = 0.06
    assert "no difference beyond the seed spread is visible (3.2 points" in headline(comparison)
    difference.update(p_holm=0.01, high=0.01)
    assert "no difference beyond the seed spread is visible (3.2 points" in headline(comparison)


def test_one_seed_excludes_nothing():
    """Catches a claim by any clause of the headline that rests on one seed with an interval over examples."""
    difference = {"values": [0.5], "mean": 0.5, "low": 0.4, "high": 0.6}
    assert not excludes(difference, 0.0)
    assert excludes({**difference, "values": [0.5, 0.5]}, 0.0)
    assert not excludes({**difference, "values": [0.5, 0.5], "low": -0.1}, 0.0)
    assert not excludes(None, 0.0)


def test_reference_missing(comparison):
    del comparison["lm"]["encodings"]["rope"]
    for result in comparison["lm"]["encodings"].values():
        result["difference"] = result["race"] = None
    text = headline(comparison)
    assert text.startswith(
        "RoPE, the reference, is not among the encodings, so no difference is computed: give evaluate.py reference="
    )
    assert "(learned)" in text


def test_reference_alone(comparison):
    comparison["lm"]["encodings"] = {"rope": comparison["lm"]["encodings"]["rope"]}
    assert "no other encoding" in headline(comparison)


def test_no_common_seed(comparison):
    """Catches a headline that denies the other encodings because nothing could be paired."""
    for name in ("sinusoidal", "learned"):
        comparison["lm"]["encodings"][name].update(difference=None, race=None)
    assert "; no seed is shared with sinusoidal, so that nothing is paired" in headline(comparison)


def test_nothing_at_all(comparison):
    comparison["lm"] = comparison["classification"] = None
    assert headline(comparison).startswith("No results yet")
    assert key_figures(comparison) == []


@pytest.mark.parametrize("part", ["lm", "classification"])
def test_key_figures_name_their_uncertainty(comparison, part):
    comparison[part] = None
    tiles = key_figures(comparison)
    assert tiles
    assert all("95 % CI" in tile.detail or "no interval" in tile.detail for tile in tiles)


def test_conclusions_sort_every_encoding(comparison):
    """Catches a difference that is none after correction, a side that is upside down, and one that was not tested."""
    encodings = comparison["lm"]["encodings"]
    encodings["t5"] = {**encodings["learned"], "loss": {**encodings["learned"]["loss"], "mean": 9.0}}
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.2)
    encodings["t5"]["difference"] = {"values": [0.5], "mean": 0.5, "low": None, "high": None, "p_holm": None}
    at_512 = {"learned": (-0.3, 0.1, 0.01), "sinusoidal": (0.01, 0.4, 0.9)}
    for name, (mean, half, p_holm) in at_512.items():
        difference = {"values": [mean] * 3, "mean": mean, "low": mean - half, "high": mean + half, "p_holm": p_holm}
        encodings[name]["differences_by_length"] = {"512": difference}
    encodings["t5"]["differences_by_length"] = {}
    assert conclusions(comparison) == [
        "Test loss beside RoPE's: higher: sinusoidal (by 0.73 nats); no difference found: learned; not tested: t5.",
        "At 512 tokens, 4\u00d7 the training length: lower: learned (by 0.30 nats); "
        "no difference found: sinusoidal; not tested: t5.",
    ]


def test_one_seed_concludes_nothing(one_seed):
    assert conclusions(one_seed) == []
