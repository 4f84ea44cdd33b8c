"""From runs on disk to results files and a report: two encodings, two seeds, both tasks."""

import json
import shutil
import statistics
from contextlib import nullcontext

import pytest
import yaml

from roformer.errors import UserError
from roformer.evaluation import harness
from roformer.evaluation.harness import evaluate, load_run
from roformer.evaluation.runs import find_runs
from roformer.sections.evaluator import discover
from roformer.tasks.classification import Classification
from roformer.tasks.mlm import MaskedLanguageModeling
from roformer.tokenizer import TOKENIZERS
from tests.evaluation.conftest import by_encoding, summary
from tests.tiny_runs import evaluation, metrics

MEASURED = {
    "mlm": {"lm_loss", "length_extrapolation", "attention_distance", "learning_speed"},
    "topics": {"classification", "calibration", "learning_speed"},
}


def evaluators_of(run):
    """What is to be measured on a run; rotations can be stretched, and decay, where there are some."""
    return MEASURED[run.name.split("-")[0]] | (
        {"rope_scaling", "long_term_decay"} if run.name.startswith("mlm-rope") else set()
    )


def load(folder):
    (run,), _ = find_runs([str(folder)])
    return load_run(run)


@pytest.fixture
def comparison(report):
    return json.loads((report.parent / "comparison.json").read_text())


@pytest.fixture
def results(report):
    """The content of every results file, by evaluator and run."""
    folder = report.parents[1] / "results"
    return {(file.parent.name, file.stem): json.loads(file.read_text()) for file in folder.glob("*/*.json")}


def test_every_run_has_its_results(runs, report, results):
    """Catches evaluators that are omitted, or applied to runs of another task."""
    expected = {(evaluator, run.name) for run in runs for evaluator in evaluators_of(run)}
    (baselines,) = set(results) - expected
    assert expected < set(results)
    assert (baselines[0], baselines[1].split("-")[0]) == ("baselines", "labeled")
    assert report == runs[0].parent / "report" / "index.html"
    assert "<svg" in report.read_text()
    assert (report.parent / "tables.md").is_file()


def test_results_say_where_they_come_from(runs, results):
    """Catches numbers that nobody can trace."""
    stored = results["lm_loss", runs[0].name]
    assert stored["config"] == yaml.safe_load((runs[0] / "config.yaml").read_text())
    assert stored["trained"] == json.loads((runs[0] / "provenance.json").read_text())
    position = stored["config"]["position"]
    told = {
        "name": "mlm-rope-seed1",
        "task": "mlm",
        "family": "language_modeling",
        "data": None,
        "learning_rate": None,
        "seed": 1,
        "is_random_start": False,
    }
    assert stored["run"] == {**told, "position": position}


def test_the_comparison_has_both_encodings_and_seeds(comparison):
    """Catches runs that get lost between results and report."""
    for group in comparison["groups"]:
        assert list(group["encodings"]) == ["rope", "none"]
        assert all(encoding["seeds"] == [1, 2] for encoding in group["encodings"].values())
        assert group["warnings"] == []
    for section in ("lm_loss", "classification"):
        assert len(summary(comparison, section)["encodings"]["none"]["difference"]["values"]) == 2
    assert "parameters" in by_encoding(comparison)["none"]


def test_the_curve_is_that_of_the_run(runs, results):
    """Catches lines without an evaluation among the points, and steps that do not belong to their losses."""
    lines = [line for line in metrics(runs[0]) if "validation_loss" in line]
    curve = results["learning_speed", runs[0].name]["metrics"]
    assert (curve["steps"], curve["validation_loss"]) == (
        [line["step"] for line in lines],
        [line["validation_loss"] for line in lines],
    )
    speeds = [json.loads(line)["tokens_per_second"] for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    assert curve["tokens_per_second"] == statistics.median(speeds)


@pytest.mark.slow
def test_a_second_call_measures_nothing(runs, report, comparison, monkeypatch):
    """Catches minutes spent again on what is on disk."""
    for name in (evaluators := discover()):
        monkeypatch.setattr(evaluators[name], "evaluate", None)  # calling it would fail
    evaluate(evaluation(runs))
    again = json.loads((report.parent / "comparison.json").read_text())
    for each in (again, comparison):
        each["origin"]["created"] = None
    assert again == comparison


@pytest.fixture
def measured(tmp_path, capsys):
    """Evaluates runs into a folder of the test's own, and returns the evaluators that had work to do, by run."""

    def run(*folders, **settings):
        capsys.readouterr()
        evaluate(evaluation(folders, output_dir=str(tmp_path / "compared"), **settings))
        told = [line.split(": ") for line in capsys.readouterr().out.splitlines() if ": " in line]
        names = {folder.name for folder in folders}
        return {(evaluator, name) for evaluator, name in told if name in names}

    return run


@pytest.mark.slow
def test_other_lengths_or_weights_are_measured(runs, measured, tmp_path):
    """Catches results of an older model, or of other lengths, taken for those of this one."""
    copied = tmp_path / runs[0].name
    shutil.copytree(runs[0], copied)
    everything = {(evaluator, copied.name) for evaluator in evaluators_of(copied)}
    assert measured(copied) == everything
    assert measured(copied) == set()
    assert ("length_extrapolation", copied.name) in measured(copied, length_factors=[1, 2])
    shutil.rmtree(copied / "export")
    shutil.copytree(runs[2] / "export", copied / "export")
    assert measured(copied, length_factors=[1, 2]) == everything


def test_results_that_cannot_be_trusted_are_measured_again(runs, measured, tmp_path):
    """Catches numbers edited by hand that are published, and a traceback for a file that was cut short."""
    copied = tmp_path / runs[0].name
    shutil.copytree(runs[0], copied)
    everything = measured(copied)
    (file,) = (tmp_path / "compared" / "results" / "lm_loss").glob("*.json")
    whole = file.read_text()
    edited = json.loads(whole)
    edited["metrics"]["loss"] = 0.1
    for content in ("", "[]", "{}", whole[:100], json.dumps(edited)):
        file.write_text(content)
        assert measured(copied) == {("lm_loss", copied.name)} < everything
        assert json.loads(file.read_text())["metrics"] == json.loads(whole)["metrics"]


def test_a_damaged_export_is_not_evaluated(runs, measured, tmp_path):
    """Catches a table of the losses of zeros."""
    copied = tmp_path / runs[0].name
    shutil.copytree(runs[0], copied)
    weights = copied / "export" / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(UserError, match=r"export is damaged \(model.safetensors"):
        measured(copied)


@pytest.mark.slow
def test_one_run_more_is_measured_alone(runs, measured):
    """Catches hours spent again because the comparison got a run more, or another title."""
    measured(runs[0])
    assert {name for _, name in measured(runs[0], runs[2], title="Another title")} == {runs[2].name}


def test_a_run_is_evaluated_in_its_precision(runs, monkeypatch, tmp_path):
    """Catches a model that was trained in bf16 and is judged in float32, and the other way round."""
    copied = tmp_path / runs[0].name
    shutil.copytree(runs[0], copied)
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("precision: fp32", "precision: bf16"))
    asked = set()
    monkeypatch.setattr(harness, "autocast", lambda precision, device: asked.add(precision) or nullcontext())
    evaluate(evaluation([copied]))
    assert asked == {"bf16"}


@pytest.mark.slow
def test_results_lie_where_the_paths_of_all_runs_meet(runs, tmp_path):
    """Catches a report about two folders that is hidden in the first."""
    for number, name in ((0, "a/one"), (2, "b/two")):
        shutil.copytree(runs[number], tmp_path / name)
    assert evaluate(evaluation([tmp_path / "*" / "*"])) == tmp_path / "report" / "index.html"


def test_the_exported_tokenizer_is_used(runs, monkeypatch):
    """Catches a tokenizer that is trained anew, by another version of the library, for a model that has its own."""
    monkeypatch.setattr(TOKENIZERS["wordpiece"], "prepare", None)  # calling it would fail
    assert load(runs[0]).task.tokenizer.get_vocab()


def test_tokens_are_not_made_again(runs, report, tiny_runs):
    """Catches an exported tokenizer that differs in a byte, so that evaluation tokenizes the corpus anew."""
    fingerprints = {json.loads((run / "provenance.json").read_text())["data_fingerprint"] for run in runs}
    before = set(tiny_runs.cache.glob("tokens-*"))
    assert len(fingerprints) == 2  # one for each corpus, though each run has exported its own tokenizer
    for run in runs:
        load(run)
    assert set(tiny_runs.cache.glob("tokens-*")) == before


class Watched(dict):
    """Splits that note which of them are asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked = set()

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("number", [0, 1], ids=["mlm", "classification"])
def test_only_the_test_split_is_looked_at(runs, number):
    """Catches scores on documents that the model was trained on or chosen by."""
    loaded = load(runs[number])
    corpus = loaded.task.corpus
    watched = Watched(corpus.splits)
    object.__setattr__(corpus, "splits", watched)
    if hasattr(loaded.task, "plans"):
        loaded.task.plans = Watched(loaded.task.plans)
    for name in ("lm_loss", "length_extrapolation") if number == 0 else ("classification", "calibration"):
        discover()[name](evaluation([])).evaluate(loaded)
    assert watched.asked == {"test"}
    assert number or loaded.task.plans.asked == {"test"}


def test_scores_are_those_of_the_task(runs, results):
    """Catches an evaluator that measures something else than training did, or in another mode."""
    mlm, topics = (load(run) for run in runs[:2])
    assert isinstance(mlm.task, MaskedLanguageModeling)
    assert isinstance(topics.task, Classification)
    expected = mlm.task.evaluate(mlm.model, "test")
    stored = results["lm_loss", runs[0].name]["metrics"]
    assert (stored["loss"], stored["accuracy"]) == pytest.approx((expected["test_loss"], expected["test_accuracy"]))
    assert stored["parameters"] == sum(parameter.numel() for parameter in mlm.model.parameters())
    expected = topics.task.evaluate(topics.model, "test")
    stored = results["classification", runs[1].name]["metrics"]
    assert stored["accuracy"] == expected["test_accuracy"]
    assert stored["macro_f1"] == expected["test_macro_f1"]
    assert stored["label_names"] == ["forest", "kitchen", "sea"]
    assert len(stored["predictions"]) == len(stored["labels"]) == len(topics.task.corpus.splits["test"])


@pytest.mark.parametrize(
    ("settings", "folders", "message"),
    [
        ({"reference": "ropee"}, ["same"], "unknown position encoding 'ropee'; did you mean 'rope'?"),
        ({}, ["same", "again"], "runs again and same are both rope with seed 1; compare one of them at a time"),
    ],
)
def test_what_cannot_be_compared_is_not_measured(runs, monkeypatch, tmp_path, settings, folders, message):
    """Catches minutes of measuring before a line that was due at once, and a good report that is overwritten."""
    for folder in folders:
        shutil.copytree(runs[0], tmp_path / folder)
    monkeypatch.setattr("roformer.evaluation.harness.load_run", None)  # calling it would fail
    with pytest.raises(UserError) as error:
        evaluate(evaluation([tmp_path / "*"], **settings))
    assert str(error.value).startswith(message)
    assert {path.name for path in tmp_path.iterdir()} == set(folders)


def test_unfinished_runs_are_skipped_and_named(runs, tiny_runs, tmp_path, capsys):
    """Catches a run that is missing from the report without a word, and one whose weights are not final."""
    for number, name in ((0, "done"), (2, "begun")):
        shutil.copytree(runs[number], tmp_path / name)
    shutil.rmtree(tmp_path / "begun" / "export")
    evaluate(evaluation([tmp_path / "*"]))
    assert f"skipping {tmp_path / 'begun'}: the run has not finished" in capsys.readouterr().out
    assert [file.stem for file in (tmp_path / "results" / "lm_loss").iterdir()] == ["done"]


def test_patterns_find_each_run_once(runs):
    """Catches runs counted twice because two patterns match them, and folders that are no runs."""
    folder = runs[0].parent
    found, unfinished = find_runs([str(folder / "mlm-*"), str(folder / "*seed1"), str(folder)])
    assert [run.name for run in found] == sorted(
        run.name for run in runs if run.name.startswith("mlm") or run.name.endswith("seed1")
    )
    assert unfinished == []
    assert {run.config["position"]["name"] for run in found} == {"rope", "none"}


def test_no_finished_run_is_an_error(tmp_path):
    """Catches an empty report."""
    with pytest.raises(UserError, match=r"matches no finished run \(0 other folders\); give output folders"):
        find_runs([str(tmp_path / "*")])
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("{}")
    with pytest.raises(UserError, match="1 unfinished"):
        find_runs([str(tmp_path / "*")])


def test_folders_of_one_name_are_refused(runs, tmp_path):
    """Catches a/run and b/run, of which one overwrites the results of the other and is dropped in silence."""
    for number, parent in ((0, "a"), (2, "b")):
        shutil.copytree(runs[number], tmp_path / parent / "run")
    with pytest.raises(UserError, match="run"):
        find_runs([str(tmp_path / "*" / "run")])


def test_a_run_without_a_test_split_is_refused(tiny_runs, tmp_path):
    """Catches a traceback after the training of a corpus that has no test split."""
    run = tiny_runs.train(tmp_path / "run", "data.test_fraction=0")
    with pytest.raises(UserError, match="test"):
        evaluate(evaluation([run]))


def test_changed_data_is_noticed(tiny_runs, tmp_path):
    """Catches a model that is tested on documents it was trained on, because the corpus has been split anew."""
    texts = tmp_path / "text"
    shutil.copytree(tiny_runs.text, texts)
    run = tiny_runs.train(tmp_path / "run", f"data.path={texts}")
    (texts / "00.txt").write_text("Something else. " * 50)
    with pytest.raises(UserError, match="has changed since"):
        evaluate(evaluation([run]))
