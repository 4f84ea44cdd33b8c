"""Entities in new texts, and answers to new questions: those of evaluation, with their places."""

import json
import shutil

import numpy as np
import pytest

from roformer.data.sources.questions import QuestionsSource
from roformer.data.sources.tagged import TaggedSource
from roformer.data.tags import entities
from roformer.errors import UserError
from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.predict import __main__ as command
from roformer.predict.__main__ import parse, predict

LEARNING = ("trainer.max_steps=120", "trainer.eval_steps=60", "optimizer.learning_rate=0.01")


@pytest.fixture(scope="module")
def spans(tiny_runs, tmp_path_factory):
    """Texts of ``tiny_runs.tagged``, with their entities in place of tagged words."""
    file = tmp_path_factory.mktemp("spans") / "spans.jsonl"
    source = TaggedSource(path=str(tiny_runs.tagged), token_column=0, tag_column=None, tag_names=None, encoding=None)
    with file.open("w") as lines:
        for document in source.documents():
            places = entities([tag for *_, tag in document.spans])
            found = [
                {"start": document.spans[a].start, "end": document.spans[b - 1].end, "label": kind}
                for a, b, kind in places
            ]
            lines.write(json.dumps({"text": document.text, "entities": found}) + "\n")
    return file


@pytest.fixture(scope="module")
def tagger(tiny_runs, spans, tmp_path_factory):
    """A tagger that has learned something; words have several tokens, and some texts several segments."""
    more = (
        "trainer.max_steps=40",
        "optimizer.learning_rate=0.01",
        "tokenizer.vocab_size=200",
        "tokenizer.alphabet_size=90",
    )
    folder = tmp_path_factory.mktemp("tagger") / "run"
    return tiny_runs.train(folder, f"data.path={spans}", *more, task="token_classification")


@pytest.fixture(scope="module")
def reader(tiny_runs, tmp_path_factory):
    """A model for questions; some contexts have several windows, some questions no answer."""
    return tiny_runs.train(tmp_path_factory.mktemp("reader") / "run", *LEARNING, task="question_answering")


def loaded(run):
    (found,), _ = find_runs([str(run)])
    return load_run(found)


def said(folder, *arguments):
    """The rows that a call writes as JSON lines."""
    predict(parse([*map(str, arguments), "--output", str(folder / "said.jsonl"), "--overwrite"]))
    return [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]


def write(file, rows):
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return file


@pytest.mark.parametrize("alone", [False, True], ids=["run", "export alone"])
def test_entities_are_those_of_evaluation(tagger, tmp_path, monkeypatch, alone):
    """Catches other words, segments or rules than in evaluation, places of another text, and an order by length."""
    evaluated = loaded(tagger)
    task = evaluated.task
    predictions, _ = task.predict(evaluated.model, "test")
    words = task.words["test"]
    model = shutil.copytree(tagger / "export", tmp_path / "copy") if alone else tagger
    texts = [words.text(number) for number in range(len(task.corpus.splits["test"]))]
    monkeypatch.setattr(command, "_CHUNK", 7)
    rows = said(tmp_path, model, write(tmp_path / "texts.jsonl", [{"text": text} for text in texts]))
    assert [row["text"] for row in rows] == texts
    found = 0
    for number, row in enumerate(rows):
        start, stop = words.span_offsets[number : number + 2]
        spans = words.spans_of(number)
        tags = [task.tags[tag] for tag in predictions[start:stop]]
        expected = [(int(spans[a, 0]), int(spans[b - 1, 1]), kind) for a, b, kind in entities(tags)]
        assert [(each["start"], each["end"], each["label"]) for each in row["entities"]] == expected
        assert all(row["text"][each["start"] : each["end"]] == each["text"] for each in row["entities"])
        assert all(0 < each["score"] <= 1 and len(str(each["score"])) < 13 for each in row["entities"])
        found += len(expected)
    assert found > 20


def test_entities_can_be_trained_on(tagger, spans, tmp_path):
    """Catches predictions that data=tagged does not read, so that nobody can correct them and train again."""
    rows = said(tmp_path, tagger, spans)
    settings = {"token_column": 0, "tag_column": None, "tag_names": None, "encoding": None}
    documents = list(TaggedSource(path=str(tmp_path / "said.jsonl"), **settings).documents())
    assert [document.text for document in documents] == [row["text"] for row in rows]
    for document, row in zip(documents, rows, strict=True):
        tags = [tag for *_, tag in document.spans]
        assert [kind for *_, kind in entities(tags)] == [each["label"] for each in row["entities"]]


def test_tokens_are_texts_and_blank_texts_have_rows(tagger, tmp_path, capsys):
    """Catches a list of words that is refused, and rows that are shifted by a blank text."""
    rows = write(tmp_path / "t.jsonl", [{"tokens": ["The", "owl", "."]}, {"tokens": []}, {"tokens": ["今", "天"]}])
    found = said(tmp_path, tagger, rows, "--text-column", "tokens")
    assert [row["text"] for row in found] == ["The owl .", "", "今天"]
    assert found[1]["entities"] == []
    assert "warning: 1 texts are blank" in capsys.readouterr().err
    (tmp_path / "blank.txt").write_text("\n")
    assert said(tmp_path, tagger, tmp_path / "blank.txt") == [{"text": "", "entities": []}]


@pytest.mark.parametrize("alone", [False, True], ids=["run", "export alone"])
def test_answers_are_those_of_evaluation(reader, tiny_runs, tmp_path, monkeypatch, alone):
    """Catches other windows or lengths than in evaluation, no empty answers, and places of another context."""
    evaluated = loaded(reader)
    task = evaluated.task
    expected, _ = task.predict(evaluated.model, "test")
    texts = task.texts("test")
    contexts = [texts.text(number) for number in range(len(expected))]
    source = QuestionsSource(path=str(tiny_runs.questions), encoding=None).documents()
    asked = {document.texts[1]: document.text for document in source}
    rows = [{"context": context, "question": asked[context]} for context in contexts]
    model = shutil.copytree(reader / "export", tmp_path / "copy") if alone else reader
    monkeypatch.setattr(command, "_CHUNK", 7)
    found = said(tmp_path, model, write(tmp_path / "questions.jsonl", rows))
    assert [row["answer"] for row in found] == expected
    assert len(set(expected)) > 2
    assert "" in expected
    for row, context in zip(found, contexts, strict=True):
        if row["answer"]:
            assert context[row["start"] : row["end"]] == row["answer"]
        else:
            assert (row["start"], row["end"]) == (None, None)
        assert 0 < row["score"] <= 1
    assert len(np.unique([row["score"] for row in found])) > 10


def test_questions_come_in_the_form_of_squad_and_answers_as_a_table(reader, tmp_path):
    """Catches a file that trains a model and cannot be asked about, and null in a table."""
    asked = [{"id": "1", "question": question, "answers": []} for question in ("Where is the owl?", "")]
    squad = {"data": [{"title": "", "paragraphs": [{"context": "The owl stands.", "qas": asked}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad, indent=1))
    rows = said(tmp_path, reader, tmp_path / "squad.json")
    assert len(rows) == 2
    predict(parse([str(reader), str(tmp_path / "squad.json"), "--output", str(tmp_path / "answers.csv")]))
    head, *lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert head == "answer,start,end,score"
    assert lines[0].split(",")[:3] == [
        str(rows[0][key] if rows[0][key] is not None else "") for key in ("answer", "start", "end")
    ]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (
            "tagger",
            ["--format", "csv"],
            "several per text, which a row of csv cannot hold; write jsonl",
        ),
        ("tagger", ["--output", "a.csv"], "cannot hold; write jsonl (--format jsonl, --output *.jsonl)"),
        ("tagger", ["--text-column", "text,other"], "was trained on documents of the texts text, given: text, other"),
        (
            "reader",
            ["--text-column", "text"],
            "of the texts question, context, given: text; give a table",
        ),
        ("reader", [], "has no column 'question'"),
        ("reader", ["--text-column", "text,other", "--max-length", "20"], "--max-length must be at least 24 (max_"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tagger, reader, tmp_path, monkeypatch, kind, arguments, message):
    """Catches a row of a table for a list, one text for a model of two, and windows that never end."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "texts.jsonl", [{"text": "a", "other": "b"}])
    model = shutil.copytree({"tagger": tagger, "reader": reader}[kind] / "export", tmp_path / "copy")
    with pytest.raises(UserError) as error:
        predict(parse([str(model), "texts.jsonl", *arguments]))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_export_that_does_not_say_how_it_reads_is_refused(reader, tmp_path):
    """Catches answers of other windows than in training, from an export of an earlier version."""
    model = shutil.copytree(reader / "export", tmp_path / "copy")
    settings = json.loads((model / "config.json").read_text())
    assert settings["answers"].pop("stride") == 8
    (model / "config.json").write_text(json.dumps(settings))
    (model / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=r"config\.json does not say how contexts are read: 'answers' has no stride"):
        said(tmp_path, model, write(tmp_path / "q.jsonl", [{"question": "a", "context": "b"}]))
