"""The headline claims a difference only where the paired interval over two seeds or more shows one."""

import pytest

from roformer.report.page import headline as headline_of
from roformer.report.page import sentences as sentences_of
from roformer.results.intervals import Difference
from roformer.sections import in_page_order
from tests.report.conftest import drop, encodings, loaded, summary


def headline(comparison):
    return headline_of(loaded(comparison), in_page_order())


def sentences(comparison):
    return sentences_of(loaded(comparison), in_page_order())


def key_figures(comparison):
    found = loaded(comparison)
    shown = [(section, found.summaries[name]) for name, section in in_page_order() if name in found.summaries]
    return [tile for section, each in shown for tile in section.tiles(each, found)]


def difference_of(mean, half, p_holm=0.001):
    """Three paired seeds whose difference has this mean and half-width."""
    p_values = {"p_value": p_holm, "p_holm": p_holm}
    return {"values": [mean] * 3, "mean": mean, "low": mean - half, "high": mean + half, "over": "seeds", **p_values}


def set_difference(comparison, name, mean, half, p_holm=0.001):
    encodings(comparison)[name]["difference"] = difference_of(mean, half, p_holm)


def set_ratio(comparison, name, mean, half, p_holm=None):
    encodings(comparison, "steps_to_target")[name][-1]["ratio"] = difference_of(mean, half, p_holm)


def test_clear_difference(comparison):
    """Catches a headline without the size of the difference, or with that of another encoding."""
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    assert headline(comparison) == "RoPE ends 0.73 nats lower than sinusoidal (95 % CI 0.70 to 0.76, 3 paired seeds)."
    assert any(
        sentence.startswith("To a validation loss of 5.5, sinusoidal needs 2.07\u00d7 [")
        for sentence in sentences(comparison)
    )


def test_reference_that_is_clearly_worse(comparison):
    """Catches a headline that can only praise the reference."""
    set_difference(comparison, "sinusoidal", -0.2, 0.05)
    set_ratio(comparison, "sinusoidal", 0.5, 0.1)
    assert headline(comparison) == "RoPE ends 0.20 nats higher than sinusoidal (95 % CI 0.15 to 0.25, 3 paired seeds)."
    found = "To a validation loss of 5.5, sinusoidal needs 0.50\u00d7 [0.40, 0.60] the steps of RoPE."
    assert found in sentences(comparison)


def test_no_difference(comparison):
    """Catches a difference that is claimed though its interval has zero in it."""
    set_difference(comparison, "sinusoidal", 0.01, 0.03)
    set_ratio(comparison, "sinusoidal", 1.02, 0.1)
    assert headline(comparison) == (
        "Between RoPE and sinusoidal there is no clear difference "
        "(sinusoidal minus RoPE: +0.010 nats; 95 % CI \u22120.020 to +0.040, 3 paired seeds)."
    )
    assert not any(sentence.startswith("To a validation loss") for sentence in sentences(comparison))


def test_a_race_without_a_floor_is_no_headline(comparison):
    """Catches a speed-up that nobody knows to be about positions."""
    summary(comparison, "steps_to_target")["floor"] = None
    assert not any(sentence.startswith("To a validation loss") for sentence in sentences(comparison))
    assert not any("the steps to a validation loss" in tile.label for tile in key_figures(comparison))


def test_a_race_that_nobody_saw(comparison):
    """Catches a page that cannot do without a ratio."""
    encodings(comparison, "steps_to_target")["sinusoidal"] = []
    assert not any(sentence.startswith("To a validation loss") for sentence in sentences(comparison))
    assert not any("the steps to a validation loss" in tile.label for tile in key_figures(comparison))


def test_a_third_encoding_that_beats_the_reference_is_named(comparison):
    """Catches a headline that hides the winner behind a weak baseline."""
    set_difference(comparison, "learned", -0.05, 0.01)
    assert "; learned ends 0.050 nats lower than RoPE (95 % CI 0.040 to 0.060" in headline(comparison)


def test_one_seed(one_seed):
    text = headline(one_seed)
    assert text.startswith("One seed, no test:")
    assert "fewer" not in text


def test_one_seed_with_an_interval_over_examples_is_still_no_claim(comparison):
    """Catches an interval over test examples that passes for seed spread."""
    drop(comparison, "language_modeling")
    assert headline(comparison).startswith("One seed, no test: RoPE classifies 71.3 % of the test documents")


def test_the_best_of_many_is_named_only_if_it_stands_correction(comparison):
    """Catches a winner among many encodings that one test in twenty finds by chance."""
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.04)
    assert "learned ends 0.050 nats lower" in headline(comparison)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.06)
    assert "learned" not in headline(comparison)


def test_only_classification_with_seeds(comparison):
    drop(comparison, "language_modeling")
    difference = difference_of(-0.032, 0.018, 0.01) | {"values": [-0.03, -0.034]}
    encodings(comparison, "classification")["sinusoidal"]["difference"] = difference
    assert headline(comparison) == (
        "RoPE classifies 71.3 % of the test documents correctly, 3.2 points more than sinusoidal "
        "(95 % CI 1.4 to 5.0, 2 paired seeds)."
    )
    difference["p_holm"] = 0.06
    assert "there is no clear difference (sinusoidal minus RoPE: \u22123.2 points" in headline(comparison)
    difference.update(p_holm=0.01, high=0.01)
    assert "there is no clear difference (sinusoidal minus RoPE: \u22123.2 points" in headline(comparison)


def test_one_seed_excludes_nothing():
    """Catches a claim by any clause of the headline that rests on one seed with an interval over examples."""
    assert not Difference((0.5,), 0.5, 0.4, 0.6).ci_excludes(0.0)
    assert Difference((0.5, 0.5), 0.5, 0.4, 0.6).ci_excludes(0.0)
    assert not Difference((0.5, 0.5), 0.5, -0.1, 0.6).ci_excludes(0.0)


def remove(comparison, *names):
    """Takes encodings out of the losses, and all other sections with them."""
    for section in [name for name in comparison["sections"] if name != "lm_loss"]:
        del comparison["sections"][section]
    for place in (comparison["groups"][0], summary(comparison, "lm_loss")):
        for name in names:
            del place["encodings"][name]


def test_reference_missing(comparison):
    """Catches differences to an encoding that is not there."""
    remove(comparison, "rope")
    for result in encodings(comparison).values():
        result["difference"] = None
    text = headline(comparison)
    assert text.startswith(
        "RoPE, the reference, is not among the encodings, so no difference is computed: give evaluate.py reference="
    )
    assert "(learned)" in text


def test_reference_alone(comparison):
    """Catches a comparison of one that dies."""
    remove(comparison, "sinusoidal", "learned")
    assert "no other encoding" in headline(comparison)


def test_no_common_seed(comparison):
    """Catches a headline that denies the other encodings because nothing could be paired."""
    for name in ("sinusoidal", "learned"):
        encodings(comparison)[name]["difference"] = None
    assert "; no seed is shared with sinusoidal, so nothing is paired" in headline(comparison)


def test_nothing_at_all(comparison):
    """Catches an empty page that dies."""
    for family in ("language_modeling", "classification"):
        drop(comparison, family)
    assert headline(comparison).startswith("No results yet")
    assert key_figures(comparison) == []


@pytest.mark.parametrize("family", ["language_modeling", "classification"])
def test_key_figures_name_their_uncertainty(comparison, family):
    """Catches a number without the width that a reader needs to judge it."""
    drop(comparison, family)
    tiles = key_figures(comparison)
    assert tiles
    assert all("95 % CI" in tile.detail or "no interval" in tile.detail for tile in tiles)


def test_conclusions_sort_every_encoding(comparison):
    """Catches a difference that is none after correction, a side that is upside down, and one that was not tested."""
    losses, lengths = encodings(comparison), encodings(comparison, "length_extrapolation")
    for place in (comparison["groups"][0]["encodings"], losses, lengths, encodings(comparison, "learning_speed")):
        place["t5"] = dict(place["learned"])
    set_difference(comparison, "sinusoidal", 0.73, 0.03)
    set_difference(comparison, "learned", -0.05, 0.01, p_holm=0.2)
    losses["t5"]["difference"] = {**difference_of(0.5, 0.1, None), "values": [0.5], "low": None, "high": None}
    for name, (mean, half, p_holm) in {"learned": (-0.3, 0.1, 0.01), "sinusoidal": (0.01, 0.4, 0.9)}.items():
        lengths[name]["differences_by_length"] = {"512": difference_of(mean, half, p_holm)}
    lengths["t5"]["differences_by_length"] = {}
    found = sentences(comparison)
    sides = "higher (worse): sinusoidal by 0.73 nats; no clear difference: learned; not paired: T5"
    assert f"Test loss vs. RoPE: {sides}." in found
    assert (
        "Test loss at 512 tokens, 4\u00d7 the training length, vs. RoPE: lower (better): learned by 0.30 nats; "
        "no clear difference: sinusoidal; not paired: T5." in found
    )


def test_one_seed_concludes_nothing(one_seed):
    """Catches a difference of one pair that is called one."""
    assert len(sentences(one_seed)) == 1
