"""From results files to a comparison: numbers worked out by hand, and what cannot be compared."""

import numpy as np
import pytest

from roformer.errors import UserError
from tests.evaluation.conftest import as_json, by_encoding, comparison_of, group, summary
from tests.tiny_runs import evaluation

HALF_2 = 12.706205  # Student's t quantile of 1 degree of freedom


def compared(results, **settings):
    return as_json(comparison_of(results, evaluation([], **settings)))


def encodings_of(results, **settings):
    return by_encoding(compared(results, **settings))


def warnings_of(results):
    return group(compared(results))["warnings"]


@pytest.fixture
def two_by_two(mlm_results):
    """RoPE reaches in 20 and 25 steps what sinusoidal reaches in 40."""
    return [
        *mlm_results(2.0, [4.0, 3.0, 2.5, 2.0], position="rope", seed=1),
        *mlm_results(2.2, [5.0, 3.5, 2.5, 2.2], position="rope", seed=2),
        *mlm_results(2.5, [6.0, 5.0, 4.0, 3.0], position="sinusoidal", seed=1),
        *mlm_results(2.9, [6.0, 5.0, 4.0, 2.9], position="sinusoidal", seed=2),
    ]


def test_means_differences_and_ratios_are_exact(two_by_two):
    """Catches pairs of different seeds, a ratio upside down, and a target that some run never reaches."""
    comparison = compared(two_by_two)
    encodings = by_encoding(comparison)
    rope, other = encodings["rope"], encodings["sinusoidal"]
    assert rope["loss"]["values"] == [2.0, 2.2]
    assert (rope["loss"]["mean"], other["loss"]["mean"]) == pytest.approx((2.1, 2.7))
    assert other["difference"]["values"] == pytest.approx([0.5, 0.7])
    assert other["difference"]["mean"] == pytest.approx(0.6)
    assert other["difference"]["low"] == pytest.approx(0.6 - HALF_2 * 0.1, rel=1e-5)
    assert [race["target_loss"] for race in other["steps_to_target"]] == [4.0, 3.5, 3.0]
    race = other["steps_to_target"][-1]
    assert race["reference_steps"]["values"] == [20.0, 25.0]
    late = 30 + 10 * (4.0 - 3.0) / (4.0 - 2.9)
    assert race["steps"]["values"] == pytest.approx([40.0, late])
    assert race["tokens"]["values"] == pytest.approx([4000.0, 100 * late])
    assert race["ratio"]["values"] == pytest.approx([2.0, late / 25])
    assert rope["difference"] is None
    assert "steps_to_target" not in rope
    assert group(comparison)["encodings"]["rope"] == {"seeds": [1, 2], "position": {"name": "rope"}}
    assert summary(comparison, "length_extrapolation")["windows"] == 5
    assert (rope["parameters"], rope["tokens_per_second"]["mean"]) == (77, 50.0)


def test_no_race_to_a_loss_that_needs_no_positions(two_by_two, mlm_results):
    """Catches "6.8 times fewer steps" to a loss that a model without positions reaches, too."""
    for seed in (1, 2):
        two_by_two += mlm_results(3.6, [6.0, 5.0, 4.0, 3.6], position="none", seed=seed)
    races = summary(compared(two_by_two), "steps_to_target")
    assert races["floor"] == pytest.approx(3.6)
    assert [race["target_loss"] for race in races["encodings"]["sinusoidal"]] == [3.0]
    assert races["encodings"]["none"] == []


def test_a_race_is_between_two(two_by_two, mlm_results):
    """Catches steps to a target that change when a third, worse encoding joins the comparison."""
    alone = encodings_of(two_by_two)["sinusoidal"]["steps_to_target"]
    for seed in (1, 2):
        two_by_two += mlm_results(8.0, [9.0, 8.5, 8.2, 8.0], position="alibi", seed=seed)
    encodings = encodings_of(two_by_two)
    assert encodings["sinusoidal"]["steps_to_target"] == alone
    assert encodings["alibi"]["steps_to_target"] == []  # RoPE was below its loss at the first evaluation


def test_curves_are_means_over_seeds(two_by_two):
    """Catches bounds of another step, and seeds that are not averaged."""
    curve = encodings_of(two_by_two)["rope"]["curve"]
    assert (curve["steps"], curve["tokens"]) == ([10, 20, 30, 40], [1000.0, 2000.0, 3000.0, 4000.0])
    assert curve["mean"] == pytest.approx([4.5, 3.25, 2.5, 2.1])
    assert curve["low"][0] == pytest.approx(4.5 - HALF_2 * 0.5, rel=1e-5)
    assert curve["high"][2] == pytest.approx(2.5)


def test_curves_keep_the_steps_that_all_seeds_have(mlm_results):
    """Catches a mean over different steps where one run was evaluated more often."""
    often, rarely = mlm_results(2.0, [4.0, 3.0, 2.5, 2.0], seed=1), mlm_results(2.0, [5.0, 1.0], seed=2)
    rarely[2]["metrics"].update(steps=[20, 40], tokens=[2000, 4000], seconds=[20, 40])
    curve = encodings_of([*often, *rarely])["rope"]["curve"]
    assert (curve["steps"], curve["mean"]) == ([20, 40], [4.0, 1.5])


def test_seeds_without_a_common_step_have_no_curve(mlm_results):
    """Catches a traceback where the seeds of one encoding were trained for different times."""
    early, late = mlm_results(2.0, [4.0, 3.0, 2.5, 2.0], seed=1), mlm_results(2.0, [4.0], seed=2)
    late[2]["metrics"].update(steps=[60], tokens=[6000], seconds=[60])
    encodings = encodings_of([*early, *late])
    assert encodings["rope"]["curve"]["steps"] == encodings["rope"]["curve"]["mean"] == []


def test_losses_at_equal_time(mlm_results):
    """Catches a comparison at the end of the slowest run, or at a time that some run never reached."""
    fast, slow = mlm_results(2.0, [4, 3, 2, 2]), mlm_results(3.0, [6, 5, 4, 3], position="none")
    slow[2]["metrics"]["seconds"] = [16, 32, 48, 64]
    speeds = summary(compared([*fast, *slow]), "learning_speed")
    assert speeds["equal_wall_time"] == 40
    assert speeds["encodings"]["rope"]["loss_at_equal_wall_time"]["mean"] == 2
    assert speeds["encodings"]["none"]["loss_at_equal_wall_time"]["mean"] == pytest.approx(4.5)
    slow[2]["metrics"]["seconds"] = [41, 50, 60, 70]
    assert encodings_of([*fast, *slow])["none"]["loss_at_equal_wall_time"] is None


def test_places_windows_and_heads_are_means_over_seeds(two_by_two):
    """Catches probes of one seed that stand for all, and heads of two seeds that are taken for the same."""
    rope = encodings_of(two_by_two)["rope"]
    assert [place["values"] for place in rope["loss_by_position"]] == [[2.0, 2.2], [4.0, 4.2]]
    assert rope["sliding_window_loss"]["values"] == pytest.approx([1.9, 2.1])
    assert rope["attention_distance"] == [pytest.approx([2.1, 4.2])]
    two_by_two[0]["metrics"].update(sliding_window_loss=None, by_position=[])
    two_by_two[4]["metrics"].update(sliding_window_loss=None, by_position=[])
    rope = encodings_of(two_by_two)["rope"]
    assert (rope["loss_by_position"], rope["sliding_window_loss"]) == ([], None)


def test_lengths_are_paired_with_the_reference(two_by_two):
    """Catches differences to another length, and lengths that the reference does not take."""
    del two_by_two[0]["metrics"]["by_length"]["128"]
    encodings = encodings_of(two_by_two)
    assert encodings["rope"]["differences_by_length"] == {}
    found = encodings["sinusoidal"]["differences_by_length"]
    assert list(found) == ["32", "64"]
    assert found["64"]["values"] == pytest.approx([0.5, 0.7])
    assert found["64"]["p_holm"] is None  # exploratory


def test_stretching_is_held_against_no_scaling(mlm_results, result):
    """Catches differences to the training length, of other seeds, or that are corrected for one test only."""
    results = []
    for seed, gain in ((1, 0.2), (2, 0.4)):
        losses = {"rope": {"64": 3.0, "128": 4.0}, "rope_ntk": {"64": 3.0 - gain, "128": 4.0 - 2 * gain}}
        results += mlm_results(2.0, [4, 3, 2, 2], seed=seed)
        results.append(result("rope_scaling", {"by_scaling": losses}, seed=seed))
    results += mlm_results(2.0, [4, 3, 2, 2], seed=1, position="none")
    encodings = encodings_of(results)
    assert "rope_scaling" not in encodings["none"]
    table = encodings["rope"]["rope_scaling"]
    assert table["rope"]["64"] == {"loss": table["rope"]["64"]["loss"], "difference": None}
    assert table["rope"]["128"]["loss"]["mean"] == 4.0
    difference = table["rope_ntk"]["64"]["difference"]
    assert difference["values"] == pytest.approx([-0.2, -0.4])
    assert difference["p_holm"] is None  # exploratory


def test_learning_rates_of_a_grid_are_told_and_may_differ(two_by_two):
    """Catches a warning about what one rule has chosen for each encoding, and a choice that nobody can follow."""
    assert "lr_search" not in compared(two_by_two)["sections"]
    for result in two_by_two:
        rate = 0.002 if result["run"]["position"]["name"] == "rope" else 0.001
        result["config"].update(lr_search_dir="outputs/grid", optimizer={"learning_rate": rate})
        result["trained"]["learning_rate_grid"] = [[0.001, 3.0], [0.002, 4.0]]
    comparison = compared(two_by_two)
    assert group(comparison)["warnings"] == []
    assert group(comparison)["settings"]["learning_rate"] == "best of a grid"
    search = summary(comparison, "lr_search")["encodings"]["rope"]
    assert search == {"grid": [[0.001, 3.0], [0.002, 4.0]], "selected": 0.002}
    two_by_two[0]["config"]["lr_search_dir"] = None
    assert "lr_search_dir" in warnings_of(two_by_two)[0]


def test_seeds_with_other_learning_rates_are_told(two_by_two):
    """Catches a mean over seeds that were trained differently, which a grid that has grown leads to."""
    for result in two_by_two:
        result["config"]["lr_search_dir"] = "outputs/grid"
        result["config"]["optimizer"]["learning_rate"] = 0.001 * result["run"]["seed"]
        result["config"]["optimizer"]["learning_rate"] /= 2 if result["run"]["position"]["name"] == "rope" else 1
    assert warnings_of(two_by_two) == [
        "the seeds of rope have different learning rates: 0.0005, 0.001",
        "the seeds of sinusoidal have different learning rates: 0.001, 0.002",
    ]


def test_synthetic_cells_are_means_over_seeds(classifier_results, result):
    """Catches cells of one seed, and an accuracy that is a mean over lengths."""
    results = []
    for seed, share in ((1, 0.5), (2, 0.7)):
        results += classifier_results([0, 1], [0, 1], seed=seed)
        cells = {"cell": "place", "by_length": {"30": [1.0, share], "60": [0.0, 0.2]}, "baselines": {"30": {"a": 0.1}}}
        results.append(result("synthetic", cells, task="classification", seed=seed, data__length=15))
    del results[-1]["metrics"]["by_length"]["60"]  # the table of one seed ended sooner
    found = summary(compared(results), "synthetic")
    probe = found.pop("encodings")["rope"]
    assert found == {"cell": "place", "baselines": {"30": {"a": 0.1}}, "training_words": 15}
    assert list(probe) == ["30"]
    assert probe["30"]["cells"] == pytest.approx([1.0, 0.6])
    assert probe["30"]["accuracy"]["values"] == pytest.approx([0.75, 0.85])
    assert "synthetic" not in compared(classifier_results([0, 1], [0, 1]))["sections"]


def test_losses_by_length(two_by_two):
    """Catches lengths in the order of their names, where 128 comes before 32."""
    by_length = encodings_of(two_by_two)["rope"]["loss_by_length"]
    assert list(by_length) == ["32", "64", "128"]
    assert by_length["128"]["values"] == [6.0, 6.2]


def test_one_seed_has_means_without_intervals(mlm_results):
    """Catches an interval from a single run."""
    results = [*mlm_results(2.0, [4, 3, 2, 2]), *mlm_results(2.5, [5, 4, 3, 3], position="none")]
    encodings = encodings_of(results)
    difference = encodings["none"]["difference"]
    assert (difference["mean"], difference["low"], difference["p_value"]) == (0.5, None, None)
    assert encodings["rope"]["curve"]["low"] is None


def test_only_common_seeds_are_paired_and_missing_ones_are_told(two_by_two, mlm_results):
    """Catches pairs of different seeds, which are no pairs, and a comparison over unequal seeds in silence."""
    comparison = compared([*two_by_two, *mlm_results(9.0, [9, 9, 9, 3], position="sinusoidal", seed=7)])
    assert by_encoding(comparison)["sinusoidal"]["difference"]["values"] == pytest.approx([0.5, 0.7])
    assert group(comparison)["warnings"] == [
        "not every encoding has the same seeds: rope: [1, 2]; sinusoidal: [1, 2, 7]",
    ]


def test_no_common_seed_means_no_difference(mlm_results):
    """Catches an error, or a difference of unpaired means."""
    results = [*mlm_results(2.0, [4, 3, 2, 2], seed=1), *mlm_results(3.0, [4, 3, 3, 3], seed=2, position="none")]
    other = encodings_of(results)["none"]
    assert other["difference"] is None
    assert "steps_to_target" not in other


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"optimizer__learning_rate": 0.5}, "the runs differ in optimizer.learning_rate: 0.001, 0.5"),
        ({"trainer__max_steps": 99}, "the runs differ in trainer.max_steps: 40, 99"),
        ({"model__hidden_size": 64}, "the runs differ in model.hidden_size: 32, 64"),
        ({"data__name": "docs"}, "the runs differ in data.name: docs, text"),
        ({"attention__name": "eager"}, "the runs differ in attention.name: eager, sdpa"),
    ],
)
def test_runs_that_differ_otherwise_are_told(two_by_two, mlm_results, change, warning):
    """Catches an encoding that wins because it was trained longer."""
    other = [
        result for seed in (1, 2) for result in mlm_results(2, [4, 3, 2, 2], position="none", seed=seed, **change)
    ]
    assert warnings_of([*two_by_two, *other]) == [warning]


@pytest.mark.parametrize("key", ["data_fingerprint", "hardware"])
def test_other_data_or_another_machine_are_told(two_by_two, key):
    """Catches losses on different data, or speeds of different machines, side by side."""
    two_by_two[0]["trained"][key] = "another"
    (warning,) = warnings_of(two_by_two)
    assert warning.startswith(f"the runs differ in {key.replace('_', ' ')}: ")


START = {"digest": "d", "config": {"seed": 1, "position": {"name": "none"}, "trainer": {"max_steps": 10}}}


@pytest.mark.parametrize(
    ("start", "warning"),
    [
        (None, "the runs differ in initial weights: drawn, from init_from"),
        (
            {**START, "config": {**START["config"], "trainer": {"max_steps": 20}}},
            "the runs differ in their pretraining's trainer.max_steps: 10, 20",
        ),
    ],
)
def test_unequal_starts_are_told(two_by_two, start, warning):
    """Catches an encoding that wins because it was pretrained, or pretrained for longer."""
    for result in two_by_two:
        result["trained"]["initial_weights"] = START
    two_by_two[0]["trained"]["initial_weights"] = start
    assert warnings_of(two_by_two) == [warning]


def test_what_has_to_differ_is_not_told(two_by_two):
    """Catches warnings that nobody reads because they are always there."""
    for number, result in enumerate(two_by_two):
        result["config"].update(paths={"output_dir": number}, tracker={"name": number}, init_from=number)
        result["config"]["model"]["max_position_embeddings"] = number
        own = {"seed": number, "position": {"name": number}}
        result["trained"]["initial_weights"] = {"digest": number, "config": {**START["config"], **own}}
    assert warnings_of(two_by_two) == []


def test_variants_of_one_encoding_are_kept_apart(mlm_results):
    """Catches two bases of RoPE averaged as if they were seeds, and labels that do not tell them apart."""
    small, large = ({"name": "rope", "rope_theta": base, "layout": "half"} for base in (500.0, 10000.0))
    results = [*mlm_results(2.0, [4, 3, 2, 2], position=small), *mlm_results(3.0, [4, 3, 3, 3], position=large)]
    results += mlm_results(4.0, [4, 4, 4, 4], position="none")
    encodings = encodings_of(results, reference="rope (rope_theta=500.0)")
    assert list(encodings) == ["none", "rope (rope_theta=10000.0)", "rope (rope_theta=500.0)"]
    assert encodings["rope (rope_theta=10000.0)"]["difference"]["mean"] == 1.0


def test_the_same_encoding_and_seed_twice_is_refused(two_by_two, mlm_results):
    """Catches one of two runs that is dropped at random."""
    with pytest.raises(UserError) as error:
        compared([*two_by_two, *mlm_results(1.0, [4, 3, 2, 1], position="rope", seed=2, name="again")])
    assert str(error.value) == (
        "runs mlm-rope-2 and again are both rope with seed 2; compare one of them at a time (narrow runs=)"
    )


@pytest.mark.parametrize("reference", ["alibi", "learned"])
def test_without_the_reference_there_are_no_differences(two_by_two, reference):
    """Catches differences to another encoding than the one that the heading names."""
    comparison = compared(two_by_two, reference=reference)
    assert comparison["reference"] == reference
    for encoding in by_encoding(comparison).values():
        assert encoding["difference"] is None
        assert "steps_to_target" not in encoding


LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
GOOD, FAIR = [0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0, 0]


def test_classifiers_over_seeds(classifier_results):
    """Catches accuracy over documents where there are seeds, and the difference of other seeds."""
    results = [
        *classifier_results(GOOD, LABELS, seed=1),
        *classifier_results(LABELS, LABELS, seed=2),
        *classifier_results(FAIR, LABELS, seed=1, position="none"),
        *classifier_results(FAIR, LABELS, seed=2, position="none"),
    ]
    found = summary(compared(results), "classification")
    rope, other = found["encodings"]["rope"], found["encodings"]["none"]
    assert rope["accuracy"]["values"] == [7 / 8, 1.0]
    assert (rope["accuracy"]["over"], rope["macro_f1"]["values"]) == ("seeds", [7 / 16, 0.5])
    assert other["difference"]["values"] == pytest.approx([5 / 8 - 7 / 8, 5 / 8 - 1])
    assert rope["difference"] is None
    assert found["baselines"]["majority class"]["accuracy"]["mean"] == 0.5
    assert (found["labels"], found["test_documents"]) == (2, 8)


def test_single_classifiers_have_intervals_over_documents(classifier_results):
    """Catches no interval at all, though the documents give one, and a test that is not paired by document."""
    results = [*classifier_results(GOOD, LABELS), *classifier_results(FAIR, LABELS, position="none")]
    encodings = encodings_of(results)
    accuracy, difference = encodings["rope"]["accuracy"], encodings["none"]["difference"]
    assert accuracy["over"] == difference["over"] == "examples"
    assert accuracy["low"] < 7 / 8 < accuracy["high"]
    pairs = np.equal(FAIR, LABELS).astype(float) - np.equal(GOOD, LABELS)
    half = 2.364624 * pairs.std(ddof=1) / 8**0.5  # 7 degrees of freedom
    assert (difference["mean"], difference["values"]) == (pytest.approx(-0.25), [pytest.approx(-0.25)])
    assert difference["high"] - difference["mean"] == pytest.approx(half)


def test_a_task_without_runs_is_none(two_by_two, classifier_results):
    """Catches an error where only one task was run, and results of one task among those of the other."""
    assert "classification" not in compared(two_by_two)["sections"]
    assert list(compared(classifier_results(GOOD, LABELS))["sections"]) == ["classification", "confusion"]
    both = compared([*two_by_two, *classifier_results(GOOD, LABELS)])
    assert list(summary(both, "classification")["encodings"]) == ["rope"]
    assert [each["family"] for each in both["groups"]] == ["language_modeling", "classification"]


def test_settings_and_origin_come_with_the_numbers(two_by_two):
    """Catches a table without the settings that a reader needs to judge it."""
    comparison = compared(two_by_two)
    assert comparison["origin"]["git_commit"] == "abc"
    expected = {"data": "text", "sequence_length": 32, "batch_size": 8, "max_steps": 40, "learning_rate": 0.001}
    assert group(comparison)["settings"].items() >= expected.items()


def test_seeds_of_another_length_are_told(two_by_two, mlm_results):
    """Catches a traceback where one seed was trained, and so measured, at other lengths."""
    longer = mlm_results(2.0, [4, 3, 2, 2], position="rope", seed=3, task__sequence_length=64)
    longer[0]["metrics"]["by_length"] = {
        length: {"loss": 2.0, "predicted_tokens": 100} for length in ("64", "128", "256")
    }
    assert "the runs differ in task.sequence_length: 32, 64" in warnings_of([*two_by_two, *longer])


def test_reference_first_then_by_loss(mlm_results):
    """Catches alphabetical order, and a reference that moves when another encoding beats it."""
    losses = {"rope": 9.0, "alibi": 3.0, "none": 2.0}
    results = [each for name, loss in losses.items() for each in mlm_results(loss, [9, 8, 7, 6], position=name)]
    assert list(group(compared(results))["encodings"]) == ["rope", "none", "alibi"]


def test_the_primary_tests_are_one_family(mlm_results):
    """Catches a p that is corrected for its own test only, and one for a difference that was not declared."""
    results = []
    for seed in range(1, 9):
        results += mlm_results(2.0 + seed / 100, [4, 3, 2, 2], seed=seed)
        results += mlm_results(2.5 + seed / 90, [4, 3, 2, 2], seed=seed, position="alibi")
        results += mlm_results(2.0 + (-1) ** seed / 7, [4, 3, 2, 2], seed=seed, position="none")
    encodings = encodings_of(results)
    assert encodings["alibi"]["difference"]["p_value"] == pytest.approx(2 / 2**8)
    assert encodings["alibi"]["difference"]["p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert all(each["p_holm"] is None for each in encodings["alibi"]["differences_by_length"].values())
