"""Questions about texts: SQuAD's JSON and rows, and where the answers stand."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from roformer.data.sources.questions import QuestionsSource
from roformer.data.splits import split_documents
from roformer.errors import UserError

ENGLISH, CHINESE = "The Normans came from Denmark, Iceland and Norway.", "𠮷田住在北京，他在上海工作。"


def answer(context, text):
    return {"text": text, "answer_start": context.index(text)}


PARAGRAPHS = [
    {
        "context": ENGLISH,
        "qas": [
            {"id": "1", "question": "From where?", "answers": [answer(ENGLISH, "Denmark"), answer(ENGLISH, "Norway")]},
            {"id": "2", "question": "Who is king?", "answers": [], "is_impossible": True, "plausible_answers": [{}]},
        ],
    },
    {"context": CHINESE, "qas": [{"id": "3", "question": "他在哪里工作？", "answers": [answer(CHINESE, "上海")]}]},
]
SQUAD = {"version": "v2.0", "data": [{"title": "Normans", "paragraphs": PARAGRAPHS}]}
ANSWERS = {"From where?": ["Denmark", "Norway"], "Who is king?": [], "他在哪里工作？": ["上海"]}


def read(path):
    """Question -> its answers, cut out of the context."""
    documents = list(QuestionsSource(path=str(path), encoding=None).documents())
    assert {document.texts[1] for document in documents} <= {ENGLISH, CHINESE}
    return {each.text: [each.texts[1][start:end] for start, end, _ in each.spans] for each in documents}


@pytest.mark.parametrize("indent", [None, 2])
def test_squad_is_read(tmp_path, indent):
    """Catches a question without an answer that is skipped, and offsets in bytes instead of characters."""
    (tmp_path / "train.json").write_text(json.dumps(SQUAD, indent=indent))
    assert read(tmp_path) == ANSWERS


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.parquet"])
def test_rows_are_read(tmp_path, file):
    """Catches answers in the hub's layout, a list of each, and a file of one object per line named .json."""
    rows = [
        {
            "question": each["question"],
            "context": paragraph["context"],
            "answers": {key: [one[key] for one in each["answers"]] for key in ("text", "answer_start")},
        }
        for paragraph in PARAGRAPHS
        for each in paragraph["qas"]
    ]
    if file == "a.parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / file)
    else:
        (tmp_path / file).write_text("\n".join(map(json.dumps, rows)))
    assert read(tmp_path) == ANSWERS


@pytest.mark.parametrize("answers", [answer(ENGLISH, "Norway"), [answer(ENGLISH, "Norway")]])
def test_an_answer_may_be_one_object(tmp_path, answers):
    """Catches the letters of an answer that are read as a list of answers."""
    row = {"question": "From where?", "context": ENGLISH, "answers": answers}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read(tmp_path) == {"From where?": ["Norway"]}


def test_blanks_around_an_answer_are_no_part_of_it(tmp_path):
    """Catches an answer that no token begins, so that it is never learned."""
    row = {"question": "From where?", "context": ENGLISH, "answers": answer(ENGLISH, " Norway")}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read(tmp_path) == {"From where?": ["Norway"]}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"text": "Norway", "answer_start": 3},
            r"question 1: the context has ' Norma' at character 3, not the answer",
        ),
        ({"text": "Norway", "answer_start": -1}, "not the answer 'Norway'"),
        ({"text": "", "answer_start": 0}, "not the answer ''"),
        ({"text": ["Norway"], "answer_start": []}, "need 'text' and 'answer_start'"),
        ({"text": ["Norway"], "answer_start": ["3"]}, "need 'text' and 'answer_start'"),
        ({"text": "Norway"}, "need 'text' and 'answer_start'"),
        ("Norway", "need 'text' and 'answer_start'"),
        (None, r"need 'text' and 'answer_start', got None; write \[\]"),
    ],
)
def test_a_wrong_answer_is_named(tmp_path, answers, message):
    """Catches training on another text than the answer, and hidden answers that pass for unanswerable questions."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "?", "context": ENGLISH, "answers": answers}))
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": [{"paragraphs": [{"context": "a"}]}]}, "not in the format of SQuAD: 'qas' is missing"),
        ({"data": [1]}, "not in the format of SQuAD: a part is of another kind"),
        ({"data": []}, "contain no question"),
        ([{"question": "?", "answers": []}], "has no column 'context'"),
    ],
)
def test_another_format_is_named(tmp_path, content, message):
    """Catches a traceback for a file of another kind."""
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_questions_about_one_context_share_a_split(tmp_path):
    """Catches contexts that are trained on and evaluated: their answers can be learned by heart."""
    rows = [{"question": f"{number}?", "context": f"context {number % 40}", "answers": []} for number in range(400)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = {}
    for split, document in split_documents(
        QuestionsSource(path=str(tmp_path), encoding=None), validation_fraction=0.3, test_fraction=0.3
    ):
        splits.setdefault(document.texts[1], set()).add(split)
    assert {len(found) for found in splits.values()} == {1}
    assert set().union(*splits.values()) == {"train", "validation", "test"}
