"""Tasks that are judged by one number: from runs to the table of the page."""

import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from roformer.data.sources.glue import GLUE
from roformer.errors import UserError
from roformer.evaluation.harness import evaluate, load_run
from roformer.evaluation.runs import find_runs
from roformer.report.page import headline, page_parts, write_report
from roformer.report.table import Table
from roformer.results.schema import to_json
from roformer.sections import in_page_order
from roformer.sections.downstream_score.floors import floors, jaccard
from roformer.sections.downstream_score.measure import DownstreamScore, f1_of
from roformer.tasks.regression import spearman
from tests.evaluation.conftest import as_json, comparison_of, summary
from tests.tiny_runs import evaluation


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Small copies of three GLUE tasks, and triplets."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    words = ["oak", "sea", "pan", "owl", "sail", "moss"]

    def text():
        return " ".join(rng.choice(words, int(rng.integers(3, 12))))

    def write(place, columns, label):
        for file, count in (("train", 60), ("dev", 24)):
            rows = [{**{column: text() for column in columns}, "label": label(n)} for n in range(count)]
            (folder / place).mkdir(exist_ok=True)
            (folder / place / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    for task in ("mrpc", "cola"):
        write(task, GLUE[task].columns, lambda n: n % 2)
    write("stsb", GLUE["stsb"].columns, lambda n: n % 11 / 2)
    for file in ("mrpc", "cola", "stsb"):
        (folder / file / "dev.jsonl").rename(folder / file / "validation.jsonl")
    write("scm", "ABC", lambda n: "BC"[n % 2])
    (folder / "scm" / "dev.jsonl").rename(folder / "scm" / "test.jsonl")
    return folder


@pytest.fixture(scope="module")
def runs(tiny_runs, root, tmp_path_factory):
    """Two encodings and two seeds on each of four datasets."""
    out = tmp_path_factory.mktemp("scored")
    folders = []
    for data, task in (
        ("mrpc", "classification"),
        ("cola", "classification"),
        ("stsb", "regression"),
        ("scm", "matching"),
    ):
        chosen = (
            [f"data.path={root}/scm"]
            if data == "scm"
            else ["data=glue", f"data.path={root}", f"data.glue_task={data}"]
        )
        for encoding in ("rope", "none"):
            for seed in (1, 2):
                more = (*chosen, f"position={encoding}", f"seed={seed}", "data.test_fraction=0")
                folders.append(tiny_runs.train(out / f"{data}-{encoding}-{seed}", *more, task=task))
    return folders


def scored(folder):
    (found,), _ = find_runs([str(folder)])
    assert found.family in DownstreamScore.families
    return to_json(DownstreamScore(evaluation([])).evaluate(load_run(found)))


def datasets_of(results):
    return summary(as_json(comparison_of(results, evaluation([]))), "downstream_score")["datasets"]


@pytest.mark.slow
def test_each_data_set_has_its_metric(runs):
    """Catches accuracy where GLUE has F1, Matthews or Spearman, and the F1 of the other class."""
    found = {run.name.split("-")[0]: scored(run) for run in runs if run.name.endswith("rope-1")}
    expected = {
        "mrpc": lambda labels, predictions: f1_score(labels, predictions, pos_label=1),
        "cola": matthews_corrcoef,
        "stsb": lambda labels, predictions: spearmanr(labels, predictions).statistic,
        "scm": lambda labels, predictions: np.mean(np.equal(labels, predictions)),
    }
    for data, score in expected.items():
        assert found[data]["score"] == pytest.approx(score(found[data]["labels"], found[data]["predictions"]))
        assert len(found[data]["labels"]) == 24
    assert {data: result["metric"] for data, result in found.items()} == {
        "mrpc": "f1", "cola": "matthews", "stsb": "spearman", "scm": "accuracy",
    }  # fmt: skip
    assert found["stsb"]["labels"][:3] == [0.0, 0.5, 1.0]


def test_the_positive_class_by_name():
    """Catches the hub's class names, whose order is not that of the numbers, and labels of which none is the class."""
    f1 = f1_of(("equivalent", "not_equivalent"), GLUE["mrpc"].positive)
    assert f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(2 / 3)
    with pytest.raises(UserError, match=r"F1 is about the class 1 or equivalent, and the labels here are 0\.0, 1\.0"):
        f1_of(("0.0", "1.0"), GLUE["mrpc"].positive)


@pytest.mark.slow
def test_validation_is_judged_like_the_test(runs):
    """Catches a rate that accuracy chooses where the score is another."""
    for run in runs:
        if run.name.endswith("rope-1"):
            (found,), _ = find_runs([str(run)])
            loaded = load_run(found)
            predictions, _ = loaded.task.predict(loaded.model, "validation")
            answers = loaded.task.answers("validation")
            measure = {"mrpc": f1_score, "cola": matthews_corrcoef, "scm": lambda a, b: np.mean(a == b),
                       "stsb": lambda a, b: spearmanr(a, b).statistic}[run.name.split("-")[0]]  # fmt: skip
            assert scored(run)["validation"] == pytest.approx(measure(answers, predictions))


@pytest.mark.slow
def test_one_page_for_all_data(runs, tmp_path):
    """Catches runs on several datasets that shut each other out, differences between datasets, and tests that are
    corrected for their own dataset only."""
    page = evaluate(evaluation(runs, output_dir=str(tmp_path)))
    comparison = json.loads((page.parent / "comparison.json").read_text())
    assert list(comparison["sections"]) == ["downstream_score"]
    assert [group["data"] for group in comparison["groups"]] == ["cola", "mrpc", "scm", "stsb"]
    assert not any(group["warnings"] for group in comparison["groups"])
    for data, part in summary(comparison, "downstream_score")["datasets"].items():
        values = {}
        for run in runs:
            name, encoding, _ = run.name.rsplit("-", 2)
            if name == data:
                values.setdefault(encoding, []).append(scored(run)["score"])
        for encoding, of_seed in values.items():
            assert part["encodings"][encoding]["score"]["values"] == pytest.approx(of_seed)
        assert part["encodings"]["rope"]["difference"] is None
        assert part["encodings"]["none"]["difference"]["values"] == pytest.approx(
            np.subtract(values["none"], values["rope"]).tolist()
        )
        assert part["warnings"] == []
        labels = scored(next(run for run in runs if run.name.startswith(data)))["labels"]
        constant = {
            "cola": 0.0,
            "stsb": 0.0,
            "mrpc": 2 / 3,
        }  # half are positive; F1 of "all are" is 2/3, of "none is" 0
        assert part["majority"] in (pytest.approx(constant.get(data, 0.5)), 0.0 if data == "mrpc" else None)
        assert len(labels) == part["test_documents"]
        assert len(part["floors"]) == {"cola": 1, "mrpc": 2, "stsb": 2, "scm": 1}[data]
    assert "| mrpc | f1 | RoPE |" in (page.parent / "tables.md").read_text()


def test_differences_on_all_data_are_one_family(result):
    """Catches a correction within each dataset, and a claim that none of it stands behind."""
    results = [
        result("downstream_score",
               {"data": data, "metric": "f1", "score": 0.8 - less + noise * (1 + less), "labels": [0],
                "predictions": [0], "loss": 1.0, "validation": 0.5, "majority": 0.5},
               position=position, seed=seed, name=f"{data}-{position}-{seed}", task="classification")
        for data, far in (("mrpc", 0.2), ("rte", 0.02))
        for position, less in (("rope", 0.0), ("none", far))
        for seed, noise in enumerate((0.0, 0.004, -0.005, 0.003, 0.001, -0.001, 0.002, 0.03))
    ]  # fmt: skip
    tested = [part["encodings"]["none"]["difference"] for part in datasets_of(results).values()]
    assert [each["p_value"] for each in tested] == pytest.approx([2 / 2**8] * 2)
    assert [each["p_holm"] for each in tested] == pytest.approx([2 * 2 / 2**8] * 2)
    assert headline(comparison_of(results, evaluation([])), in_page_order()).startswith(
        "Of 2 differences to RoPE, these are significant: no positions on mrpc"
    )


def trial(result, position, rate, seed, *, better=0.0):
    """A run of a grid: the second rate has the better scores, the first is better on validation."""
    score = {1e-5: (0.70, 0.72), 1e-4: (0.74, 0.72)}[rate][seed] + better
    validation = {1e-5: (0.55, 0.7), 1e-4: (0.5, 0.65)}[rate][seed]
    metrics = {
        "data": "rte",
        "metric": "accuracy",
        "score": score,
        "labels": [0] * 9,
        "validation": validation,
        "majority": 0.4,
        "predictions": [0] * 9,
        "loss": 1.0,
    }
    run = {"position": position, "seed": seed, "name": f"{position}-{rate}-{seed}", "task": "classification"}
    return result("downstream_score", metrics, **run, optimizer__learning_rate=rate)


@pytest.fixture
def grid(result):
    return [
        trial(result, position, rate, seed, better=better)
        for position, better in (("rope", 0.0), ("none", 0.1))
        for rate in (1e-5, 1e-4)
        for seed in (0, 1)
    ]


def test_the_best_of_a_grid(grid, tmp_path):
    """Catches a learning rate that is chosen on the scores, seeds of several rates in one mean, and a warning about
    the choice itself."""
    comparison = comparison_of(grid, evaluation([]))
    part = summary(as_json(comparison), "downstream_score")["datasets"]["rte"]
    rope = part["encodings"]["rope"]
    assert rope["score"]["values"] == [0.70, 0.72]
    assert rope["learning_rate"] == 1e-5
    assert (rope["trials"], rope["learning_rates"], rope["best"]) == (4, 2, 0.74)
    assert rope["expected_best"] == pytest.approx(
        np.mean([max(drawn) for drawn in product([0.70, 0.72], [0.74, 0.72])])
    )
    assert part["encodings"]["none"]["difference"]["values"] == pytest.approx([0.1, 0.1])
    assert part["warnings"] == []
    assert comparison.groups[0].warnings == ()
    blocks = [block for part in page_parts(comparison, in_page_order()) for block in part.blocks]
    rows = {table.name: table.rows for table in blocks if isinstance(table, Table)}
    page = write_report(comparison, tmp_path, in_page_order()).read_text(encoding="utf-8")
    assert "share one set of hyperparameters" not in page
    assert "The best of a grid" in page
    assert rows["scores"][-1][:4] == ("rte", "accuracy", "baseline: majority class", "40.0")
    assert rows["trials"][0] == ("rte", "RoPE", "4 at 2 rates", "1e-05", "71.0", "73.0", "74.0")


def test_unequal_trials_are_told(grid):
    """Catches a rate that is ahead by the luck of its only seed, and an encoding with more to choose from, unsaid."""
    lucky = [result for result in grid if result["run"]["name"] != "rope-0.0001-0"]  # 0.65 against a mean of 0.625
    part = datasets_of(lucky)["rte"]
    assert part["encodings"]["rope"]["learning_rate"] == 1e-5  # by seed 1, which both rates have: 0.7 against 0.65
    assert "encodings differ in the learning rates or seeds" in part["warnings"][0]
    assert "rope at 0.0001: [1]" in part["warnings"][0]
    fewer = [result for result in grid if not result["run"]["name"].startswith("none-0.0001")]
    part = datasets_of(fewer)["rte"]
    assert part["encodings"]["none"]["learning_rate"] == part["encodings"]["rope"]["learning_rate"] == 1e-5
    assert "encodings differ in the learning rates or seeds" in part["warnings"][0]
    apart = [result for result in grid if result["run"]["name"] not in ("rope-0.0001-0", "rope-1e-05-1")]
    with pytest.raises(UserError, match=r"the runs at learning rates 1e-05, 0\.0001 have no seed in common"):
        datasets_of(apart)
    again = grid[0] | {"run": grid[0]["run"] | {"name": "again"}}
    with pytest.raises(UserError, match="are both rope with seed 0"):
        datasets_of([*grid, again])


@pytest.mark.parametrize(("data", "task"), [("stsb", "classification"), ("mrpc", "regression")])
def test_a_task_that_does_not_fit_is_told_before_it_trains(tiny_runs, root, tmp_path, data, task):
    """Catches a correlation of class numbers, told by the evaluation."""
    chosen = ("data=glue", f"data.path={root}", f"data.glue_task={data}", "data.test_fraction=0")
    other = "regression" if task == "classification" else "classification"
    with pytest.raises(UserError, match=f"data.glue_task={data} needs task={other}"):
        tiny_runs.train(tmp_path / "run", *chosen, task=task)
    assert not (tmp_path / "run").exists()


def test_a_random_start_is_a_row_of_its_own(grid):
    """Catches runs without pretraining averaged with those that have it, and a warning that they differ."""
    for result in grid:
        if result["run"]["seed"] == 1 and result["run"]["position"]["name"] == "rope":
            result["run"]["is_random_start"], result["run"]["seed"] = True, 0
            result["config"]["trainer"]["max_steps"] = 9  # a baseline differs by design
    comparison = comparison_of(grid, evaluation([]))
    assert "rope (random start)" in comparison.groups[0].encodings
    assert not any("max_steps" in warning for warning in comparison.groups[0].warnings)
    found = datasets_of(grid)["rte"]["encodings"]
    assert found["rope (random start)"]["score"]["values"] == [0.72]
    assert found["rope"]["score"]["values"] == [0.70]
    alone = [result for result in grid if result["run"]["position"]["name"] == "none"]
    for result in alone:
        result["run"]["is_random_start"] = True
    assert list(datasets_of(alone)["rte"]["encodings"]) == ["none"]  # nothing to tell apart


def test_floors_read_words():
    """Catches a baseline that sees the labels of the test split, or the texts of one side only."""
    texts = {
        "train": [("a good film", "x"), ("a bad film", "x"), ("good", "y"), ("bad", "y")] * 3,
        "test": [("good good", "x"), ("bad bad", "y")],
    }
    answers = {"train": np.array([1, 0, 1, 0] * 3), "test": np.array([1, 0])}
    found = floors(texts, answers, lambda a, b: float(np.mean(a == b)), is_regression=False, is_matching=False)
    assert list(found) == ["bag of words (TF-IDF + logistic regression)", "word overlap (Jaccard)"]
    assert found["bag of words (TF-IDF + logistic regression)"] == 1.0
    pairs = [("a b c", "a b c"), ("a b c", "a x y"), ("a b", "x y")]
    assert [jaccard(*pair) for pair in pairs] == pytest.approx([1.0, 0.2, 0.0])
    numbers = {split: np.array([5.0, 2.0, 0.0]) for split in ("train", "test")}
    both = dict.fromkeys(("train", "test"), pairs)
    regression = floors(both, numbers, spearman, is_regression=True, is_matching=False)
    assert regression["word overlap (Jaccard)"] == pytest.approx(1.0)
    triplets = {"test": [("a b c", "a b", "x"), ("a b c", "x", "b c")]}
    nearer = {"test": np.array([0, 1])}
    matched = floors(triplets, nearer, lambda a, b: float(np.mean(a == b)), is_regression=False, is_matching=True)
    assert matched == {"word overlap": 1.0}
