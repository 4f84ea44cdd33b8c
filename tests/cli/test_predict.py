"""What a trained model says about new texts: what evaluation says about them, one row per text, in their order."""

import csv
import io
import json
import shutil
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from roformer.data.corpus import Corpus
from roformer.data.sources import InputFormat, read_inputs
from roformer.data.splits import split_documents
from roformer.errors import UserError
from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.predict import __main__ as command
from roformer.predict import _base
from roformer.predict.__main__ import main, parse, predict
from roformer.runtime.choice import Choice
from tests.tiny_runs import ROOT

TASKS = {
    "classification": ("classification",),
    "windows": ("classification", "task.long_documents=windows"),
    "head_tail": ("classification", "task.long_documents=head_tail"),
    "pairs": ("classification", "data.text_column=[A,B]", "data.label_column=topic"),
    "regression": ("regression", "data.text_column=[A,B]", "data.label_column=grade"),
    "matching": ("matching",),
}
FILES = {
    "texts.txt": b"a",
    "texts.doc": b"a",
    "empty.txt": b"",
    "other.csv": b"texts,b\na,c\n",
    "semicolons.csv": b"text;b\na;c\n",
    "gbk.txt": "公交".encode("gbk"),
}


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    """80 texts with a near and a far one, a topic and a grade."""
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("triplets") / "triplets.jsonl"
    words = ["oak", "sea", "pan", "owl", "moss"]
    rows = [
        {
            **{key: " ".join(rng.choice(words, int(rng.integers(3, 20)))) for key in "ABC"},
            "label": "BC"[n % 2],
            "topic": ("x", "y", "z")[n % 3],
            "grade": n / 10,
        }
        for n in range(80)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture(scope="module")
def trained(tiny_runs, triplets, tmp_path_factory):
    """Maps a name of ``TASKS`` to a run, whose head is drawn large, so that its predictions differ."""
    folder = tmp_path_factory.mktemp("predicting")

    def train(name):
        task, *settings = TASKS[name]
        own = task == "classification" and name != "pairs"
        data = [] if own else [*(["data=labeled"] * (name == "pairs")), f"data.path={triplets}"]
        more = ("optimizer.learning_rate=0.01", "trainer.max_steps=4")
        return tiny_runs.train(folder / name, *data, *settings, *more, task=task)

    return train


@pytest.fixture
def run_of(trained):
    return trained("classification")


def test_texts(run):
    """The texts of the documents of the test split, in its order."""
    (found,), _ = find_runs([str(run)])
    corpus = Corpus.from_settings(found.config["data"])
    return [
        document.texts for split, document in split_documents(corpus.source, **corpus.fractions) if split == "test"
    ]


test_texts.__test__ = False


def expected(run):
    """What evaluation computes for the test split: logits, labels or values."""
    (found,), _ = find_runs([str(run)])
    loaded = load_run(found)
    scores, _ = loaded.task.score(loaded.model, "test")
    predictions, _ = loaded.task.predict(loaded.model, "test")
    return scores, predictions, loaded.task


def table(folder, columns, texts):
    """A table of texts in columns."""
    file = folder / "texts.jsonl"
    file.write_text("\n".join(json.dumps(dict(zip(columns, each, strict=True))) for each in texts))
    return file


def called(*arguments):
    predict(parse([*map(str, arguments)]))


def answers(folder, *arguments):
    """The rows that a call writes as JSON lines."""
    called(*arguments, "--output", folder / "answers.jsonl", "--overwrite")
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("alone", [False, True], ids=["run", "export alone"])
def test_a_prediction_is_that_of_evaluation(trained, tmp_path, name, alone):
    """Catches other special tokens, another truncation or order of texts than in training, with the settings of the
    run and without them."""
    run = trained(name)
    columns = {"pairs": "AB", "regression": "AB", "matching": "ABC"}.get(name, ["text"])
    file = table(tmp_path, columns, test_texts(run))
    scores, predictions, task = expected(run)
    model, more = run, ()
    if alone:
        model, more = shutil.copytree(run / "export", tmp_path / "copy"), ("--text-column", ",".join(columns))
    found = answers(tmp_path, model, file, *more)
    assert len(found) == len(predictions) > 8
    if name == "regression":
        assert [each["value"] for each in found] == pytest.approx(predictions.tolist(), rel=1e-4)
        return
    names = ["B", "C"] if name == "matching" else list(task.corpus.label_names)
    assert [each["label"] for each in found] == [names[prediction] for prediction in predictions]
    logits = torch.tensor(scores[..., 0] if name == "matching" else scores[:, 0])
    probabilities = logits.sigmoid() if name == "matching" else logits.softmax(-1)
    assert [list(each["probabilities"]) for each in found] == [names] * len(found)
    found = torch.tensor([list(each["probabilities"].values()) for each in found])
    torch.testing.assert_close(found, probabilities, rtol=1e-4, atol=1e-5)


def test_a_length_can_be_asked_for(trained, tmp_path):
    """Catches a length that is not read by anybody."""
    run = trained("classification")
    file = table(tmp_path, ["text"], test_texts(run))
    assert answers(tmp_path, run, file) == answers(tmp_path, run, file, "--max-length", 32)
    assert answers(tmp_path, run, file) != answers(tmp_path, run, file, "--max-length", 12)


def test_rows_are_in_the_order_of_the_texts(trained, tmp_path, monkeypatch):
    """Catches rows in the order of their length, and a portion that is lost or repeated."""
    run = trained("classification")
    texts = test_texts(run)
    once = answers(tmp_path, run, table(tmp_path, ["text"], texts))
    monkeypatch.setattr(command, "_CHUNK", 7)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    again = answers(tmp_path, run, table(tmp_path, ["text"], [*texts, *reversed(texts)]), "--batch-tokens", 50)
    for row, other in zip([*once, *reversed(once)], again, strict=True):
        assert row["label"] == other["label"]
        assert row["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)


def test_each_kind_of_input_gives_the_same_rows(run_of, tmp_path, monkeypatch, capsys):
    """Catches lines that are joined, a header that is a text, a blank line without a row, and a byte order mark."""
    texts = ["The owl stands.", "", 'A gull, "the" oven', "x" * 500, "   "]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8-sig")
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["other", "text"], *([1, text] for text in texts)])
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text or None}) for text in texts))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(texts).encode())))
    read = [(text if text.strip() else "",) for text in texts]
    assert all(list(read_inputs(str(file), ["text"])) == read for file in tmp_path.iterdir())
    rows = [answers(tmp_path, run_of, tmp_path / f"texts.{kind}") for kind in ("txt", "csv", "jsonl")]
    assert "warning: 2 texts are blank" in capsys.readouterr().err
    rows.append(answers(tmp_path, run_of, "-"))
    assert rows[1:] == rows[:1] * 3
    assert len(rows[0]) == 5
    assert rows[0][1] == rows[0][4] != rows[0][0]


def test_texts_may_have_another_encoding_and_delimiter(tmp_path, monkeypatch):
    """Catches options that only some kinds of input follow."""
    form, texts = InputFormat("gb18030", "semicolon"), ["支持实时公交", "有趣; 好玩"]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="gb18030")
    with (tmp_path / "texts.csv").open("w", newline="", encoding="gb18030") as file:
        csv.writer(file, delimiter=";").writerows([["other", "text"], *([1, text] for text in texts)])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(texts).encode("gb18030"))))
    for source in (tmp_path / "texts.txt", tmp_path / "texts.csv", "-"):
        assert [text for (text,) in read_inputs(str(source), ["text"], form)] == texts


def test_csv_has_a_column_per_class(run_of, tmp_path, capsys):
    """Catches probabilities under the name of another class."""
    (tmp_path / "texts.txt").write_text("fern moss oak\nsail anchor\n")
    called(run_of, tmp_path / "texts.txt")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["label", "probability_forest", "probability_kitchen", "probability_sea"]
    for row, other in zip(rows, answers(tmp_path, run_of, tmp_path / "texts.txt"), strict=True):
        found = {name: float(row[f"probability_{name}"]) for name in ("forest", "kitchen", "sea")}
        assert (row["label"], found) == (other["label"], other["probabilities"])
        assert max(found, key=found.get) == row["label"]


def test_a_file_is_not_overwritten_by_chance(run_of, tmp_path):
    """Catches labels of yesterday that are gone, and half a file of a call that failed."""
    texts, output = tmp_path / "texts.txt", tmp_path / "labels.csv"
    texts.write_text("a\nb\n")
    output.write_text("mine")
    with pytest.raises(UserError, match=r"labels\.csv exists; give --overwrite, or another file"):
        called(run_of, texts, "--output", output)
    texts.write_bytes(b"a\n" * 2000 + b"\xff\n")
    with pytest.raises(UserError, match="is not UTF-8 text: invalid start byte at byte 4000"):
        called(run_of, texts, "--output", output, "--overwrite")
    assert (output.read_text(), len(list(tmp_path.iterdir()))) == ("mine", 2)
    texts.write_text("a\nb\n")
    called(run_of, texts, "--output", output, "--overwrite")
    assert output.read_text().count("\n") == 3


@pytest.mark.parametrize(("task", "more"), [("mlm", ()), ("classification", ()), ("causal_lm", ())])
def test_vectors_are_mean_hidden_states(tiny_runs, tmp_path, task, more):
    """Catches padding in the mean, vectors in another order, and the embeddings in place of the last layer."""
    run = tiny_runs.train(tmp_path / "run", *more, task=task)
    texts = ["The owl stands beside the oak.", "A gull!", "every lantern needs a reef"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    called(run, tmp_path / "texts.txt", "--encode", "--output", tmp_path / "vectors.npy")
    vectors = np.load(tmp_path / "vectors.npy")
    model, tokenizer = AutoModel.from_pretrained(run / "export"), AutoTokenizer.from_pretrained(run / "export")
    for vector, text in zip(vectors, texts, strict=True):
        special = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
        ids = [*special[0], *tokenizer(text, add_special_tokens=False)["input_ids"], *special[1]]
        with torch.no_grad():
            hidden_states = model(torch.tensor([ids])).last_hidden_state[0]
        torch.testing.assert_close(torch.tensor(vector), hidden_states.mean(0), rtol=1e-4, atol=1e-5)
    assert (vectors.shape, vectors.dtype) == ((3, 32), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.txt"], "nowhere.txt does not exist (give a file, relative to"),
        (["run", "."], ". is no file"),
        (["run", "texts.doc"], "texts.doc has an unsupported file type (supported: .txt, .parquet"),
        (["run", "empty.txt"], "empty.txt has no texts"),
        (["run", "other.csv"], "other.csv has no column 'text'; did you mean 'texts'?"),
        (["run", "texts.txt", "--text-column", "a"], "--text-column=a is for tables, and texts.txt is none"),
        (["run", "other.csv", "--text-column", "texts,b"], "on documents of the texts text, given: texts, b; give a"),
        (["pairs", "texts.txt"], "was trained on documents of the texts A, B, given: text; give a table, and as many"),
        (["matching/export", "texts.txt"], "was trained on documents of the texts A, B, C, given: text"),
        (["nowhere", "texts.txt"], "'nowhere' is no folder, and as a name on the hub it cannot be loaded"),
        (["run", "texts.txt", "--output", "a.jsonl", "--format", "csv"], "--output=a.jsonl would hold csv"),
        (["run", "texts.txt", "--encode"], "--encode writes an array: give --output with the name of an .npy file"),
        (["run", "texts.txt", "--max-length", "3"], "--max-length must be at least 8, got 3"),
        (["run", "texts.txt", "--batch-tokens", "0"], "--batch-tokens must be at least 1, got 0"),
        (["run", "texts.txt", "--output", "/"], "--output=/ is no file; give a file that does not exist"),
        (["run", "texts.txt", "--output", "/proc/a.csv"], "--output=/proc/a.csv cannot be written (No such file or"),
        (["run", "texts.txt", "--output", "other.csv/a.csv"], "cannot be written (Not a directory); choose another"),
        (["run", "other.csv"], "(columns: b, texts; the first line of a .csv or .tsv holds them; rename one, or"),
        (
            ["run", "gbk.txt"],
            "UTF-8 text: invalid start byte at byte 0 (convert it, or set --encoding, such",
        ),
        (["run", "gbk.txt", "--encoding", "gkb"], "--encoding=gkb is no encoding; examples: utf-8, latin-1"),
        (["run", "semicolons.csv"], "its separator seems to be ';', not ','; set --delimiter=semicolon"),
        (["run", "texts.txt", "--delimiter", "ab"], "--delimiter=ab is not one character that can separate columns"),
        (["run"], "the following arguments are required: TEXTS; --help lists the arguments"),
        (["run", "texts.txt", "--formt", "csv"], "unrecognized arguments: --formt csv; --help lists"),
    ],
)
def test_mistakes_end_in_one_line(trained, tmp_path, monkeypatch, capsys, arguments, message):
    """Catches a traceback, a line without a remedy, and predictions of one text for a model of two."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    folder, _, export = arguments[0].partition("/")
    run = {"run": "classification"}.get(folder, folder)
    arguments = [str(trained(run) / export) if run in TASKS else folder, *arguments[1:]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["roformer-predict", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value).startswith("error: ")
    assert message in str(ended.value)
    assert "\n" not in str(ended.value)
    assert len(list(tmp_path.iterdir())) == len(FILES)
    assert capsys.readouterr().out == ""


def test_a_model_without_labels_is_refused(tiny_runs, trained, tmp_path):
    """Catches labels from a head that was never trained, and pairs scored as one text."""
    (tmp_path / "texts.txt").write_text("a")
    run = tiny_runs.train(tmp_path / "run")
    with pytest.raises(UserError, match=r"is RoFormerForMaskedLM, which predicts no labels; fine-tune it first"):
        called(run, tmp_path / "texts.txt")
    alone = shutil.copytree(trained("matching") / "export", tmp_path / "copy")
    with pytest.raises(UserError, match=r"is of task=matching .* needs three texts per document"):
        called(alone, tmp_path / "texts.txt")


def test_a_checkpoint_of_others_is_to_be_trained_first(tmp_path):
    """Catches a refusal without a remedy for the folder that a fine-tuning starts from."""
    (tmp_path / "config.json").write_text('{"model_type": "roformer"}')
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "texts.txt").write_text("a")
    with pytest.raises(UserError, match=rf"type 'roformer'.*; train from it first \(init_from={tmp_path}\)$"):
        called(tmp_path, tmp_path / "texts.txt")


def test_the_precision_is_that_of_the_run(run_of, tmp_path, monkeypatch):
    """Catches bf16 for a run in float32, an option that nobody reads, and an export whose precision is not chosen."""
    (tmp_path / "texts.txt").write_text("a")
    used, asked = [], []
    monkeypatch.setattr(_base, "autocast", lambda precision, device: used.append(precision) or nullcontext())
    measured = lambda given, **_: asked.append(given) or Choice("bf16" if given == "auto" else given)  # noqa: E731
    monkeypatch.setattr(_base, "choose_precision", measured)
    alone = shutil.copytree(run_of / "export", tmp_path / "copy")
    for arguments in ([run_of], [run_of, "--precision", "bf16"], [alone]):
        answers(tmp_path, arguments[0], tmp_path / "texts.txt", *arguments[1:])
    assert (asked, used) == (["fp32", "bf16", "auto"], ["fp32", "bf16", "bf16"])


@pytest.mark.slow
def test_the_command_stops_with_its_reader(run_of, tmp_path):
    """Catches a traceback under ``| head``, hours of predictions that nobody reads, and a log among the rows."""
    (tmp_path / "texts.txt").write_text("a gull\n" * 20_000)
    line = f"{sys.executable} -m roformer.predict {run_of} {tmp_path / 'texts.txt'} --format jsonl | head -2"
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert [json.loads(row)["label"] for row in done.stdout.splitlines()]
    assert (done.stdout.count("\n"), done.stderr) == (2, "")
