"""Tags of words: which token has which label, what a prediction means, and what is scored."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import pipeline

from roformer.data.tags import entities
from roformer.errors import UserError
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks.factory import build_task
from roformer.tasks.word_tokens import NO_TOKEN, token_labels, tokens_of_words
from tests.tiny_runs import metrics


@pytest.fixture
def task(make_task):
    return make_task("token_classification")


def words_of(task, split):
    """Of each document: its text, and the words with start, end and tag."""
    annotations, tags = task.corpus.splits[split].annotations, task.corpus.tags
    for number in range(len(task.corpus.splits[split])):
        spans = annotations.spans_of(number).tolist()
        yield annotations.text(number), [(start, end, tags[tag]) for start, end, tag in spans]


def test_tokens_have_the_tags_of_their_words(make_task):
    """Catches tags of the wrong word, B- on each part of a word, a gap in an entity, and a label on [CLS]."""
    task = make_task("token_classification", "tokenizer.vocab_size=110")  # words have several tokens
    split, texts = task.corpus.splits["train"], list(words_of(task, "train"))
    offsets, several = split.offsets.tolist(), 0
    for number, (_, words) in enumerate(texts):
        labels = task.token_labels["train"][offsets[number] : offsets[number + 1]]
        places = split.annotations.places[offsets[number] : offsets[number + 1]].tolist()
        expected = []
        for begin, _ in places:
            (start, tag), *_ = [(start, tag) for start, end, tag in words if start <= begin < end]
            expected.append(tag if begin == start else tag.replace("B-", "I-"))
            several += begin > start and tag != "O"
        assert [task.corpus.tags[label] for label in labels.tolist()] == expected
    assert several > 10
    inputs = task.batch(0, 4, share=0, shares=1).inputs
    special = torch.isin(inputs["input_ids"], torch.tensor([task.tokenizer.cls_token_id, task.tokenizer.sep_token_id]))
    assert (inputs["labels"][special] == IGNORE_INDEX).all()


def test_a_word_without_a_token_has_no_label():
    """Catches the tag of a word that the tokenizer drops, on every other token."""
    places, words = np.array([[0, 1], [4, 6], [6, 8]]), np.array([[0, 1], [2, 3], [4, 8]])
    of_words = tokens_of_words(places, words)
    assert of_words.tolist() == [[0, 1], [NO_TOKEN, NO_TOKEN], [1, 3]]
    assert token_labels(3, of_words, np.array([2, 0, 0]), ["B-A", "I-A", "O"]).tolist() == [2, 0, 1]


class Table(nn.Module):
    """Predicts for each token the tag that a table has for it."""

    def __init__(self, tags):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(600, tags, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids, cu_seqlens, labels, num_items_in_batch, document_lengths):
        logits = self.logits[input_ids]
        total = nn.functional.cross_entropy(logits[0], labels[0], reduction="sum")
        return type("Output", (), {"logits": logits, "loss": total / num_items_in_batch})


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_predictions_come_back_in_the_order_of_the_words(task, batch_tokens):
    """Catches predictions in the order of the segments' lengths, and those that [CLS] shifts by one."""
    model, split = Table(len(task.corpus.tags)), task.corpus.splits["test"]
    predictions, loss = task.predict(model, "test", batch_tokens)
    logits = model.logits[torch.from_numpy(split.tokens.astype(np.int64))]
    assert predictions.tolist() == logits.argmax(-1)[task.word_tokens["test"][:, 0]].tolist()
    labels = torch.from_numpy(task.token_labels["test"])
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert (np.diff(task.segments["test"]) <= 30).all()
    assert len(task.segments["test"]) > len(split)  # longer documents are cut, and none is truncated


def test_scores_are_those_of_entities(task):
    """Catches scores of words, of other documents, or of entities that are right in part."""
    predictions, _ = task.predict(Table(len(task.corpus.tags)), "test")
    predictions = np.where(np.arange(len(predictions)) % 3 > 0, task.answers("test"), predictions)
    start, gold, found = 0, [], []
    for number, (_, words) in enumerate(words_of(task, "test")):
        guessed = [task.corpus.tags[tag] for tag in predictions[start : start + len(words)]]
        gold += [(number, *entity) for entity in entities([tag for *_, tag in words])]
        found += [(number, *entity) for entity in entities(guessed)]
        start += len(words)
    right = len(set(gold) & set(found))
    scores = task.scores("test", predictions)
    assert scores["precision"] == right / len(found)
    assert scores["recall"] == right / len(gold)
    assert scores["f1"] == pytest.approx(2 / (len(found) / right + len(gold) / right))
    assert scores["accuracy"] == np.mean(predictions == task.answers("test"))
    assert 0 < scores["recall"] < 1


def test_the_scores_are_those_of_seqeval(task, monkeypatch):
    """Catches another F1 than that of seqeval (the example of its README): one entity of two is right."""
    right = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    sides = {"right": right, "predicted": predicted}
    monkeypatch.setattr(task, "answers", lambda _: np.zeros(1))
    monkeypatch.setattr(task, "entities_of", lambda _, side: [set(entities(tags)) for tags in sides[side.item()]])
    monkeypatch.setattr(task, "answers", lambda _: np.array("right"))
    scores = task.scores("test", np.array("predicted"))
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """Sentences by character: 上海 is a word and an entity, 天气 a word in the middle of which an entity begins."""
    folder = tmp_path_factory.mktemp("chinese")
    sentence = [("今", "O"), ("天", "O"), ("上", "B-LOC"), ("海", "E-LOC"), ("天", "O"), ("气", "S-LOC"), ("好", "O")]
    sentences = [[*sentence[number % 7 :], *sentence[: number % 7]] for number in (0, 2, 4) for _ in range(10)]
    for name in ("train", "dev", "test"):
        lines = ("".join(f"{word}\t{tag}\n" for word, tag in each) for each in sentences)
        (folder / f"{name}.bmes").write_text("\n".join(lines))
    return ("data=tagged", f"data.path={folder}", "tokenizer=words")


def test_a_token_of_several_words_loses_no_entity(make_task, chinese):
    """Catches an entity that begins within a token and is no longer counted, so that a tokenizer that cannot find it
    scores as well as one that can; and one of two characters that is found in part."""
    task = make_task("token_classification", *chinese)
    tokens = task.tokenizer.convert_ids_to_tokens(task.corpus.splits["test"].document(0).tolist())
    assert tokens == ["今天", "上海", "天气", "好"]
    tags = [task.corpus.tags[label] for label in task.token_labels["test"][:4]]
    assert tags == ["O", "B-LOC", "B-LOC", "O"]  # a token has the tag of its first word in an entity
    best = task.word_tags("test", task.token_labels["test"])
    assert [task.corpus.tags[tag] for tag in best[:7]] == ["O", "O", "B-LOC", "I-LOC", "B-LOC", "I-LOC", "O"]
    found, answers = task.found_entities("test", best)
    assert (found[0], answers[0]) == (1, 2)
    assert task.scores("test", best)["recall"] == 0.5
    assert "30 of 60 entities of the validation split begin or end within a token" in task.summary()
    by_character = make_task("token_classification", *chinese[:2])
    assert by_character.scores("test", by_character.word_tags("test", by_character.token_labels["test"]))["f1"] == 1
    assert "within a token" not in by_character.summary()


def test_parts_of_speech_are_scored_by_word(make_task, tmp_path):
    """Catches neighbors of one part of speech that count as one entity."""
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.conll").write_text("the DET\nold ADJ\nold ADJ\noak NOUN\n\n" * 5)
    task = make_task("token_classification", "data=tagged", f"data.path={tmp_path}")
    assert task.corpus.tags == ("ADJ", "DET", "NOUN")
    scores = task.scores("test", np.full(20, task.most_frequent))
    assert set(scores.values()) == {0.5}


def test_data_of_another_kind_is_refused(make_task, tmp_path, tiny_runs):
    """Catches a traceback for data without tags, and a tag that no model can learn."""
    with pytest.raises(UserError, match=r"needs tagged words with two tags or more: data=tagged with data\.path"):
        make_task("token_classification", "data=text", f"data.path={tiny_runs.text}")
    with pytest.raises(UserError, match="needs tagged words"):
        make_task("token_classification", "data=questions", f"data.path={tiny_runs.questions}")
    for name, tag in (("train", "B-PER"), ("dev", "B-LOC"), ("test", "B-PER")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"tokens": ["a", "b"], "tags": [tag, "O"]}))
    with pytest.raises(UserError, match=r"tag 'B-LOC' of the validation split is not in .* \(tags there: B-PER, O\)"):
        make_task("token_classification", "data=tagged", f"data.path={tmp_path}")
    (tmp_path / "dev.jsonl").write_text(json.dumps({"tokens": ["a", "b"], "tags": ["B-PER", "I-PER"]}))
    assert make_task("token_classification", "data=tagged", f"data.path={tmp_path}").tags == ("B-PER", "I-PER", "O")
    with pytest.raises(UserError, match="needs labeled data"):
        make_task("classification", "data=tagged", f"data.path={tiny_runs.tagged}")


@pytest.fixture(scope="module")
def run(tiny_runs, tmp_path_factory):
    """A tagger that has learned something."""
    more = (
        "trainer.max_steps=40",
        "optimizer.learning_rate=0.01",
        "trainer.eval_steps=20",
        "tokenizer.vocab_size=400",
    )
    folder = tmp_path_factory.mktemp("tagger") / "run"
    return tiny_runs.train(folder, *more, task="token_classification"), more


def test_training_learns_tags_and_keeps_the_best(run):
    """Catches labels that say nothing about their tokens, and a best state by another metric than F1."""
    folder, _ = run
    scores = [line["validation_f1"] for line in metrics(folder) if "validation_f1" in line]
    assert max(scores) > 0.5
    assert json.loads((folder / "export" / "config.json").read_text())["id2label"]["0"] == "B-BEING"


def test_the_export_tags_as_the_task_does(tiny_runs, run):
    """Catches an export whose labels are LABEL_0, or whose tokenizer cuts words in another way."""
    folder, more = run
    task = build_task(tiny_runs.config("unused", *more, task="token_classification"))
    model = task.model_class.from_pretrained(folder / "export")
    predictions, _ = task.predict(model, "test")
    tagger = pipeline("token-classification", model=str(folder / "export"), ignore_labels=[])
    grouping = pipeline("token-classification", model=str(folder / "export"), aggregation_strategy="first")
    start = grouped = 0
    for (text, words), length in zip(words_of(task, "test"), np.diff(task.corpus.splits["test"].offsets), strict=True):
        tags = [task.corpus.tags[tag] for tag in predictions[start : start + len(words)]]
        start += len(words)
        if length > task.max_length - 2:
            continue  # the task cuts it, a pipeline without a stride does not
        by_place = {token["start"]: token["entity"] for token in tagger(text)}
        assert [by_place[begin] for begin, *_ in words] == tags
        if text.isascii():
            expected = [(words[a][0], words[b - 1][1], kind) for a, b, kind in entities(tags)]
            assert [(each["start"], each["end"], each["entity_group"]) for each in grouping(text)] == expected
            grouped += len(expected)
    assert grouped > 10


def test_a_pipeline_finds_words_of_several_tokens(tiny_runs, tmp_path):
    """Catches tokens within a word that learned nothing, or to begin an entity since no entity of the data has two
    words: transformers' default grouping makes entities of them."""
    names, verbs = ["B&O", "N'Ga", "X-O", "T&T"], ["saw", "met", "knew", "found"]
    pairs = [(first, verb, second) for first in names for verb in verbs for second in names] * 3
    rows = [{"tokens": [*words, "."], "tags": ["B-ORG", "O", "B-ORG", "O"]} for words in pairs]
    (tmp_path / "names.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = ("trainer.max_steps=60", "optimizer.learning_rate=0.01", "trainer.early_stopping_patience=null")
    run = tiny_runs.train(
        tmp_path / "run", *more, f"data.path={tmp_path / 'names.jsonl'}", task="token_classification"
    )
    for strategy in ("simple", "first"):
        grouping = pipeline("token-classification", model=str(run / "export"), aggregation_strategy=strategy)
        assert [each["word"].replace(" ", "") for each in grouping("B&O saw N'Ga.")] == ["b&o", "n'ga"]
