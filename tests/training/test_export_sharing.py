"""An export as others get it: its card, its code on the hub, and its vectors in sentence-transformers."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from transformers import AutoModel, AutoTokenizer

from roformer.errors import UserError
from roformer.evaluation.harness import evaluate, load_run
from roformer.evaluation.runs import find_runs
from roformer.io import DIGESTS
from roformer.model.portable_code import FILE
from roformer.results.intervals import accuracy_interval
from roformer.runs import RunFolder
from roformer.training.warm_start import WarmStart
from tests.documentation import python_blocks
from tests.hub import local_hub
from tests.tiny_runs import evaluation, metrics, weights

TASKS = {
    "mlm": ("fill-mask", "AutoModelForMaskedLM", "mean"),
    "causal_lm": ("text-generation", "AutoModelForCausalLM", "mean"),
    "classification": ("text-classification", "AutoModelForSequenceClassification", "cls"),
    "token_classification": ("token-classification", "AutoModelForTokenClassification", "mean"),
    "question_answering": ("question-answering", "AutoModelForQuestionAnswering", "mean"),
    "translation": ("translation", "AutoModelForSeq2SeqLM", None),
}
WITHOUT_PACKAGE = f"import sys; sys.path[:0] = {[path for path in sys.path if path.endswith('site-packages')]}\n"
PLANTED = "import pathlib; pathlib.Path({marker!r}).touch()\n"


def finished_run(tiny_runs, task):
    """A run of a task, trained once a session."""
    lower = ("tokenizer=wordpiece", "tokenizer.vocab_size=300", "tokenizer.alphabet_size=40")
    more = {
        "translation": (*lower, "trainer.average_checkpoints=1"),
        "classification": ("task.pooling=cls", "trainer.early_stopping_patience=null"),
        "token_classification": ("trainer.early_stopping_patience=null",),
        "question_answering": ("trainer.early_stopping_patience=null",),
    }.get(task, ())
    return tiny_runs.train(tiny_runs.folder / f"shared-{task}", *more, task=task)


def alone(code, folder, **environment):
    """Runs code in a folder and a process that cannot import the package."""
    command = [sys.executable, "-I", "-S", "-c", WITHOUT_PACKAGE + code]
    environment = {**os.environ, "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("task", TASKS)
def test_the_card_says_what_the_run_knows(tiny_runs, task):
    """Catches a card that the hub cannot read, and numbers that are not those of the run."""
    run = finished_run(tiny_runs, task)
    card, folder = ModelCard.load(run / "export/README.md"), RunFolder(run)
    pipeline_tag, auto_class, _ = TASKS[task]
    said = card.data.to_dict()
    assert (said["pipeline_tag"], said["library_name"], said["license"]) == (pipeline_tag, "transformers", "unknown")
    assert "rope" in card.data.tags
    assert card.data.language == (["en", "de"] if task == "translation" else None)
    last = metrics(run)[-1]
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found == {key[11:]: pytest.approx(last[key], rel=1e-5) for key in last if key.startswith("validation_")}
    assert {each.dataset_split for each in card.data.eval_results} == {"validation"}
    record = folder.provenance
    for fact in (
        record["data_fingerprint"],
        record["command"],
        record["hardware"]["cpu"],
        f"{last['tokens']:,} tokens",
    ):
        assert fact in card.text
    assert f"{sum(weight.numel() for weight in weights(run).values()):,} parameters" in card.text
    assert f"{auto_class}.from_pretrained(folder, trust_remote_code=True)" in card.text


def test_the_card_is_of_the_state_that_is_exported(tiny_runs, tmp_path):
    """Catches the last evaluation where the best state is exported, one of no exported state, and a missing source."""
    source = finished_run(tiny_runs, "mlm")
    stop = ("trainer.early_stopping_patience=9", "trainer.eval_steps=1", "optimizer.learning_rate=0.5")
    best = tiny_runs.train(tmp_path / "best", f"init_from={source / 'export'}", *stop, task="classification")
    data = ModelCard.load(best / "export/README.md").data
    values = [line["validation_accuracy"] for line in metrics(best)]
    (accuracy,) = (each.metric_value for each in data.eval_results if each.metric_type == "accuracy")
    assert accuracy == pytest.approx(max(values), rel=1e-5)
    losses = [line["validation_loss"] for line in metrics(best) if line["validation_accuracy"] == max(values)]
    (loss,) = (each.metric_value for each in data.eval_results if each.metric_type == "loss")
    assert loss == pytest.approx(losses[0], rel=1e-5)
    assert data.base_model == source.name

    mean = tiny_runs.train(tmp_path / "mean", "trainer.average_checkpoints=2")
    assert ModelCard.load(mean / "export/README.md").data.eval_results is None


def test_an_accuracy_of_documents_has_the_interval_of_the_report(tiny_runs):
    """Catches an interval over another number of documents, or of a metric whose parts the card does not know."""
    run = finished_run(tiny_runs, "classification")
    rows = dict(
        re.findall(r"^\| (loss|accuracy|macro_f1) \| \S+ \|(.*)\|$", (run / "export/README.md").read_text(), re.M)
    )
    (found,), _ = find_runs([str(run)])
    loaded = load_run(found)
    predictions, _ = loaded.task.predict(loaded.model, "validation")
    expected = accuracy_interval(predictions == loaded.task.answers("validation"))
    assert {metric: interval.strip() for metric, interval in rows.items()} == {
        "accuracy": f"{expected.low:.4g} to {expected.high:.4g}", "loss": "", "macro_f1": "",
    }  # fmt: skip
    assert "0 to" not in rows["accuracy"]
    others = (finished_run(tiny_runs, "mlm") / "export/README.md").read_text()
    assert re.search(r"^\| accuracy \| \S+ \|  \|$", others, re.M)  # of tokens, which depend on each other


def test_owners_edit_the_card(tiny_runs, tmp_path):
    """Catches an export that counts as damaged once its license is stated."""
    run = shutil.copytree(finished_run(tiny_runs, "mlm"), tmp_path / "run")
    card = run / "export/README.md"
    card.write_text(card.read_text().replace("license: unknown", "license: mit"))
    said = []
    RunFolder(run).remove_damaged_export(said.append)
    assert not said
    assert WarmStart(str(run)).export == run / "export"


def test_no_code_of_an_export_runs_here(tiny_runs, tmp_path, monkeypatch):
    """Catches train.py or evaluate.py running what somebody has put into a folder, and a question whether to."""
    run = shutil.copytree(finished_run(tiny_runs, "mlm"), tmp_path / "run")
    export, marker = run / "export", tmp_path / "marker"
    (export / DIGESTS).unlink()
    (export / FILE).write_text(PLANTED.format(marker=str(marker)))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    tiny_runs.train(tmp_path / "tuned", f"init_from={run}", "trainer.max_steps=1", task="classification")
    evaluate(evaluation([run], length_factors=[1]))
    settings = json.loads((export / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["modeling_roformer_lab.Own", None]}}
    (export / "tokenizer_config.json").write_text(json.dumps(settings))
    try:
        tiny_runs.train(tmp_path / "other", f"init_from={export}", "trainer.max_steps=1", task="classification")
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017  # it may also read the tokenizer without its class
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_snippet_of_the_card_runs_without_the_package(tiny_runs, task, tmp_path):
    """Catches an example that has a name wrong, or an export that needs the package."""
    run = finished_run(tiny_runs, task)
    (snippet,) = python_blocks(run / "export/README.md")
    export = shutil.copytree(run / "export", tmp_path / "export")
    assert re.search("tensor", alone(snippet, export))


PUSH = """
from transformers import AutoModelForMaskedLM
model = AutoModelForMaskedLM.from_pretrained("me/shared", trust_remote_code=True)
model.push_to_hub("me/shared")
model.push_to_hub("me/other")
print(type(model).__module__)
"""


@pytest.mark.slow
def test_it_is_shared_over_the_hub(tiny_runs, tmp_path):
    """Catches code that the hub cannot give to transformers, and an upload that drops the card or the code."""
    export = finished_run(tiny_runs, "mlm") / "export"
    with local_hub() as (address, repositories):
        hub = HfApi(endpoint=address, token="hf_none")
        hub.create_repo("me/shared")
        hub.upload_folder(repo_id="me/shared", folder_path=export)
        shared = dict(repositories["me/shared"])
        assert shared.keys() == {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
        out = alone(PUSH, tmp_path, HF_ENDPOINT=address, HF_TOKEN="hf_none", HF_HUB_OFFLINE="0")
        assert "transformers_modules.me.shared" in out
        assert (
            ModelCard(repositories["me/shared"]["README.md"].decode()).text
            == ModelCard(shared["README.md"].decode()).text
        )
        assert repositories["me/other"][FILE] == shared[FILE]


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task, (*_, pooling) in TASKS.items() if pooling])
def test_sentence_transformers_pools_as_the_task_does(tiny_runs, task, caplog):
    """Catches a new mean pooling, with a warning, in place of what the run trained."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    export = finished_run(tiny_runs, task) / "export"
    logging.getLogger("sentence_transformers").propagate = True
    with caplog.at_level(logging.INFO):
        model = sentence_transformers.SentenceTransformer(str(export), device="cpu")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("sentence_transformers")]
    assert not [line for line in said if "initializing" in line or "Creating" in line or "pooling" in line], said
    texts = ["The owl stands by the oak.", "A gull!"]
    inputs = AutoTokenizer.from_pretrained(export)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(export).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    expected = {"mean": (hidden * mask).sum(1) / mask.sum(1), "cls": hidden[:, 0]}[TASKS[task][2]]
    torch.testing.assert_close(torch.from_numpy(model.encode(texts)), expected, rtol=0, atol=1e-5)


def test_an_encoder_decoder_is_no_sentence_transformer(tiny_runs):
    """Catches files that promise vectors of a model that no Auto class loads as a body."""
    assert not (finished_run(tiny_runs, "translation") / "export/modules.json").exists()
