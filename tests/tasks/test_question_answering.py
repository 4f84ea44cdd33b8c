"""Questions about texts: windows, the places of answers, and what is scored."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from roformer.data.windows import plan_windows
from roformer.errors import UserError
from roformer.tasks.answers import best_part
from roformer.tasks.factory import build_task
from tests.tiny_models import build_tiny_model
from tests.tiny_runs import metrics

SEP = 3


@pytest.fixture
def task(make_task):
    return make_task("question_answering")


@pytest.mark.parametrize("length", range(12))
@pytest.mark.parametrize("stride", [0, 2, 4])
def test_windows_cover_the_context(length, stride):
    """Catches a token that is in no window, one window too many, an overlap that is too short for an answer, and a
    context without tokens that is skipped."""
    documents = [[10, 11, SEP, *range(20, 20 + length)], [10, 11, 12, 13, SEP, 30]]
    tokens, offsets = np.concatenate(documents), np.cumsum([0, *map(len, documents)])
    windows = plan_windows(tokens, offsets, SEP, max_length=10, max_question_length=2, stride=stride)
    parts = [tokens[start:stop].tolist() for start, stop in windows.contexts]
    *first, last = parts
    room, step = 5, 5 - stride
    assert last == [30]
    assert first == [
        list(range(20 + at, min(20 + at + room, 20 + length))) for at in range(0, len(first) * step, step)
    ]
    assert [token for number, part in enumerate(first) for token in part[number and stride :]] == documents[0][3:]
    assert all(number == 0 or len(part) > stride for number, part in enumerate(first))
    assert windows.documents.tolist() == [0] * len(first) + [1]
    assert [tokens[start:stop].tolist() for start, stop in windows.questions] == [[10, 11]] * len(parts)
    assert windows.lengths().tolist() == [len(part) + 5 for part in parts]


def test_a_window_is_framed_and_knows_the_answer(task):
    """Catches an answer that is off by the question, an answer that a window cuts, and padding that is read."""
    numbers = list(range(len(task.questions["train"].windows)))
    inputs = task._collate("train", numbers)
    special, found = task.tokenizer, set()
    for number, ids, mask, start, end in zip(numbers, *(each.tolist() for each in inputs.values()), strict=True):
        length = sum(mask)
        assert mask == [1] * length + [0] * (len(mask) - length)
        assert set(ids[length:]) <= {special.pad_token_id}
        middle, last = (place for place, token in enumerate(ids) if token == special.sep_token_id)
        assert (ids[0], last) == (special.cls_token_id, length - 1)
        assert length <= 32
        if start:
            assert middle < start <= end < last
            document = int(task.questions["train"].windows.documents[number])
            answer = special.decode(ids[start : end + 1]).replace(" ", "")
            if "[UNK]" not in answer:
                assert answer.lower() in {each.lower() for each in task.answers("train")[document]}
            found.add(document)
    assert found == {number for number, answers in enumerate(task.answers("train")) if answers != [""]}
    assert task.num_items(0, 8) == 8
    assert task.batch(0, 8, share=0, shares=1).tokens == sum(
        task.batch(0, 8, share=share, shares=2).tokens for share in range(2)
    )


def test_a_batch_depends_on_seed_and_step_alone(make_task):
    """Catches windows that a resumed run would see in another order."""
    warm, fresh = make_task("question_answering"), make_task("question_answering")
    for step in (5, 3):
        ours, theirs = (task.batch(step, 4, share=0, shares=1).inputs for task in (warm, fresh))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    other = make_task("question_answering", "seed=2").batch(3, 4, share=0, shares=1).inputs["input_ids"]
    assert other.shape != ours["input_ids"].shape or (other != ours["input_ids"]).any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_length", [1, 3, 20])
def test_the_best_part_is_the_best_of_all(seed, max_length):
    """Catches an end before the start, and an answer that is longer than allowed."""
    starts, ends = torch.randn(2, 9, generator=torch.Generator().manual_seed(seed))
    score, *part = best_part(starts, ends, max_length)
    every = {
        (first, last): float(starts[first] + ends[last])
        for first in range(9)
        for last in range(first, min(9, first + max_length))
    }
    assert tuple(part) == max(every, key=every.get)
    assert score == every[tuple(part)]


class Favorites(nn.Module):
    """Scores tokens by a table, and [CLS] by a number."""

    def __init__(self, cls, cls_score):
        super().__init__()
        scores = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
        scores[cls] = cls_score
        self.scores = nn.Parameter(scores)

    def forward(self, input_ids, attention_mask, start_positions, end_positions, num_items_in_batch):
        starts, ends = self.scores[input_ids].unbind(-1)
        loss = (starts[:, 0].sum() + ends[:, 0].sum()) / num_items_in_batch
        return type("Output", (), {"start_logits": starts, "end_logits": ends, "loss": loss})


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
@pytest.mark.parametrize("cls_score", [-9.0, 1.0, 9.0])
def test_an_answer_is_the_best_part_of_any_window(task, batch_tokens, cls_score):
    """Catches the answer of another question, of the last window, or from the question or padding; and no answer
    where one window has none."""
    model = Favorites(task.tokenizer.cls_token_id, cls_score)
    answers, loss = task.predict(model, "test", batch_tokens)
    split, annotations = task.corpus.splits["test"], task.texts("test")
    for number, answer in enumerate(answers):
        begin, end = split.offsets[number], split.offsets[number + 1]
        begin += split.document(number).tolist().index(task.tokenizer.sep_token_id) + 1
        scores = model.scores.detach()[torch.from_numpy(split.tokens[begin:end].astype(np.int64))]
        score, first, last = best_part(*scores.unbind(-1), task.max_answer_length)
        (start, _), (_, stop) = annotations.places[begin + first], annotations.places[begin + last]
        expected = annotations.text(number)[start:stop] if score >= 2 * cls_score else ""
        assert answer == expected
    assert loss == pytest.approx(2 * cls_score, rel=1e-5)
    assert ("" in answers) == (cls_score > 0)


def test_without_unanswerable_questions_there_is_always_an_answer(make_task, tmp_path, tiny_runs):
    """Catches a model of SQuAD 1.1 that answers nothing."""
    rows = [line for line in tiny_runs.questions.read_text().splitlines() if '"answers": []' not in line]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    task = make_task("question_answering", f"data.path={tmp_path}")
    answers, _ = task.predict(Favorites(task.tokenizer.cls_token_id, 9.0), "test")
    assert "" not in answers


@pytest.mark.parametrize(
    ("prediction", "answers", "f1", "exact"),
    [
        ("the Normans", ["Normans"], 1, 1),  # articles and case do not count
        ("Norman conquest", ["Norman", "the conquest."], 2 / 3, 0),
        ("in Denmark, Iceland", ["Denmark", "Denmark, Iceland and Norway"], 4 / 7, 0),
        ("", [""], 1, 1),
        ("Denmark", [""], 0, 0),
        ("", ["Denmark"], 0, 0),
        ("北京市", ["北京"], 4 / 5, 0),
        ("“北京”", ["北京"], 1, 1),
        ("北京2008年", ["2008 年"], 2 / 3, 0),
    ],
)
def test_scores_are_those_of_squad(task, monkeypatch, prediction, answers, f1, exact):
    """Catches a Chinese answer that is one word and so right or wrong as a whole, and a mean of all right answers."""
    monkeypatch.setattr(task, "answers", lambda _: [answers])
    scores = task.scores("test", [prediction])
    assert scores["f1"].tolist() == pytest.approx([f1])
    assert scores["exact_match"].tolist() == [exact]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.stride=17", r"task\.stride must be at least 0 and below 17, the tokens of a context in a window"),
        ("task.stride=-1", r"task\.stride must be at least 0"),
        ("task.max_question_length=30", r"task\.max_length=32 leaves no room for a context after .*=30"),
        ("task.max_answer_length=0", r"task\.max_answer_length must be at least 1, got 0"),
    ],
)
def test_lengths_are_checked(make_task, override, message):
    """Catches windows that never end."""
    with pytest.raises(UserError, match=message):
        make_task("question_answering", override)


def test_data_of_another_kind_is_refused(make_task, tiny_runs):
    """Catches a traceback for texts without questions."""
    for chosen in (("data=tagged", f"data.path={tiny_runs.tagged}"), ("data=text", f"data.path={tiny_runs.text}")):
        with pytest.raises(UserError, match=r"needs questions about texts: data=questions with data\.path"):
            make_task("question_answering", *chosen)


def test_losses_of_parts_add_up(task):
    """Catches a loss of a part that is divided by its own sequences, or that depends on how much they are padded."""
    model = build_tiny_model(model_class=task.model_class, vocab_size=600)
    parts = [task.batch(0, 8, share=share, shares=8).inputs for share in range(8)]
    assert len({part["input_ids"].shape[1] for part in parts}) > 1
    whole = model(**task.batch(0, 8, share=0, shares=1).inputs).loss
    torch.testing.assert_close(sum(model(**part, num_items_in_batch=8).loss for part in parts), whole)


@pytest.fixture(scope="module")
def run(tiny_runs, tmp_path_factory):
    """A model that has learned something."""
    more = ("trainer.max_steps=40", "optimizer.learning_rate=0.01", "trainer.eval_steps=20", "task.max_length=64")
    folder = tmp_path_factory.mktemp("answers") / "run"
    return tiny_runs.train(folder, *more, task="question_answering"), more


def test_training_reports_the_scores(run):
    """Catches a best state by another metric than F1."""
    folder, _ = run
    lines = [line for line in metrics(folder) if "validation_f1" in line]
    assert len(lines) == 2
    assert lines[-1]["loss"] < 3
    assert {"validation_f1", "validation_exact_match", "validation_loss"} <= lines[0].keys()


def test_the_export_answers_as_the_task_does(tiny_runs, run):
    """Catches an export whose tokenizer frames a question in another way; transformers 5 has no pipeline."""
    folder, more = run
    task = build_task(tiny_runs.config("unused", *more, task="question_answering"))
    model = AutoModelForQuestionAnswering.from_pretrained(folder / "export")
    tokenizer = AutoTokenizer.from_pretrained(folder / "export")
    expected, _ = task.predict(model, "test")
    texts, compared = task.texts("test"), 0
    questions = [json.loads(line) for line in tiny_runs.questions.read_text().splitlines()]
    of_context = {each["context"]: each["question"] for each in questions}
    for number, answer in enumerate(expected):
        context = texts.text(number)
        inputs = tokenizer(of_context[context], context, return_tensors="pt", return_offsets_mapping=True)
        if inputs["input_ids"].shape[1] > 64:
            continue
        places, is_context = inputs.pop("offset_mapping")[0], np.array(inputs.sequence_ids()) == 1
        with torch.no_grad():
            outputs = model(**inputs)
        starts, ends = outputs.start_logits[0], outputs.end_logits[0]
        score, first, last = best_part(starts[is_context], ends[is_context], task.max_answer_length)
        start, end = places[is_context][first, 0], places[is_context][last, 1]
        assert answer == (context[start:end] if score >= starts[0] + ends[0] else "")
        compared += 1
    assert compared > 10
