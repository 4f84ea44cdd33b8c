"""Tasks on pairs and triplets: what is read of several texts, what is trained, what is scored."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from roformer.errors import UserError
from roformer.tasks.factory import build_task
from roformer.tasks.framing import kept_lengths
from roformer.training.warm_start import build_model, fit_to_checkpoint


@pytest.mark.parametrize(
    ("lengths", "room", "kept"),
    [
        ((5, 3), 10, (5, 3)),  # all
        ((5, 3), 8, (5, 3)),
        ((5, 3), 7, (4, 3)),  # of the longest
        ((5, 3), 5, (3, 2)),  # of both; the first has the odd one
        ((2, 9), 5, (2, 3)),
        ((0, 9), 4, (0, 4)),  # an empty text
        ((7,), 4, (4,)),
        ((9, 1, 9), 10, (5, 1, 4)),
    ],
)
def test_the_longest_text_is_cut_first(lengths, room, kept):
    """Catches a cut at the end, which leaves nothing of the second of two long texts."""
    assert tuple(kept_lengths(lengths, room)) == kept


def test_truncation_is_that_of_bert():
    """Catches another rule than to take a token off the longest until all fits."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        lengths, room = rng.integers(0, 30, 2).tolist(), int(rng.integers(2, 40))
        expected = list(lengths)
        while sum(expected) > room:
            expected[int(expected[0] < expected[1] or expected[0] == expected[1])] -= 1
        assert kept_lengths(lengths, room) == expected


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    """60 texts with a near and a far one."""
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("triplets") / "triplets.jsonl"
    rows = []
    for n in range(60):
        near = "BC"[rng.integers(2)]
        texts = {key: " ".join(rng.choice(["oak", "sea", "pan", "owl"], int(rng.integers(3, 20)))) for key in "ABC"}
        rows.append({**texts, "label": near, "grade": n / 10})
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture
def matching(make_task, triplets):
    return make_task("matching", "data=triplets", f"data.path={triplets}", "task.max_length=24")


@pytest.fixture
def regression(make_task, triplets):
    columns = ("data.text_column=[A,B]", "data.label_column=grade")
    return make_task("regression", f"data.path={triplets}", *columns, "task.max_length=24")


def test_a_pair_is_framed(regression):
    """Catches a missing [SEP], and a second text that is cut off whole."""
    special = regression.tokenizer
    for index in range(10):
        first, second = regression.texts("train", index)
        ((tokens, value),) = regression.examples("train", index)
        assert len(tokens) == min(24, len(first) + len(second) + 3)
        assert (tokens[0], tokens[-1]) == (special.cls_token_id, special.sep_token_id)
        (middle, _) = np.flatnonzero(tokens == special.sep_token_id)
        assert tokens[1:middle].tolist() == first[: middle - 1].tolist()
        assert tokens[middle + 1 : -1].tolist() == second[: len(tokens) - middle - 2].tolist()
        assert value == float(regression.corpus.label_names[regression.labels("train")[index]])


def test_a_triplet_makes_two_pairs(matching):
    """Catches candidates that are swapped, or both called near."""
    near = [matching.corpus.label_names[label] for label in matching.labels("train")]
    assert set(near) == {"B", "C"}
    for index in range(20):
        first, *candidates = matching.texts("train", index)
        examples = matching.examples("train", index)
        for (tokens, label), other, name in zip(examples, candidates, "BC", strict=True):
            assert tokens.tolist() == matching.add_special_tokens(first, other).tolist()
            assert label == float(near[index] == name)
    assert matching.num_items(0, 8) == 16
    parts = [matching.batch(0, 8, share=share, shares=2).inputs["labels"] for share in range(2)]
    assert [len(part) for part in parts] == [8, 8]
    assert torch.cat(parts).sum() == 8


def test_a_model_says_what_its_own_task_reads(tiny_runs, triplets, tmp_path):
    """Catches a model that starts from a classifier of windows, and whose export says that it reads windows, too."""
    short = ("trainer.max_steps=1", "trainer.eval_steps=1")
    start = tiny_runs.train(tmp_path / "start", "task.long_documents=windows", *short, task="classification")
    data = (f"data.path={triplets}", "data.text_column=[A,B]", "data.label_column=grade", "task.max_length=24")
    config = tiny_runs.config("unused", *data, f"init_from={start}", task="regression")
    config = fit_to_checkpoint(config, frozenset({"data", "task"}))
    task = build_task(config)
    assert build_model(config, task).config.long_documents == "head"
    assert (task.tokenizer.model_max_length, task.exported_tokenizer().model_max_length) == (32, 24)


class Lengths(nn.Module):
    """Scores a sequence by its length."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, input_ids, cu_seqlens, labels, num_items_in_batch, document_lengths):
        logits = cu_seqlens.diff().float()[:, None] * self.weight
        loss = ((logits[:, 0] - labels) ** 2).sum() / num_items_in_batch
        return type("Output", (), {"logits": logits, "loss": loss})


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_answers_stay_with_their_documents(matching, batch_tokens):
    """Catches scores in the order of their length, and B taken for C."""
    predictions, _ = matching.predict(Lengths(), "test", batch_tokens)
    for index, prediction in enumerate(predictions):
        lengths = [len(tokens) for tokens, _ in matching.examples("test", index)]
        assert prediction == int(lengths[1] > lengths[0])
    right = [matching.corpus.label_names[label] for label in matching.labels("test")]
    accuracy = np.mean(["BC"[prediction] == name for prediction, name in zip(predictions, right, strict=True)])
    assert matching.evaluate(Lengths(), "test")["test_accuracy"] == accuracy
    assert 0 < accuracy < 1


def test_correlations_are_those_of_scipy(regression):
    """Catches ranks of another split or of class numbers: "10" is not between "1" and "2"."""
    split = "validation"
    values = [float(regression.corpus.label_names[label]) for label in regression.labels(split)]
    lengths = [len(regression.examples(split, index)[0][0]) for index in range(len(values))]
    metrics = regression.evaluate(Lengths(), split)
    assert metrics["validation_spearman"] == pytest.approx(spearmanr(values, lengths).statistic)
    assert metrics["validation_pearson"] == pytest.approx(pearsonr(values, lengths).statistic)
    assert metrics["validation_loss"] == pytest.approx(np.mean(np.subtract(values, lengths) ** 2))


def test_a_constant_has_no_correlation(regression, monkeypatch):
    """Catches a correlation that is not a number, which is never worse than another, so that a run that has collapsed
    counts as its best."""
    monkeypatch.setattr(regression, "predict", lambda *_: (np.full(len(regression.corpus.splits["test"]), 0.5), 1.0))
    metrics = regression.evaluate(Lengths(), "test")
    assert (metrics["test_spearman"], metrics["test_pearson"]) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["matching", "regression"])
def test_the_loss_of_a_model(tiny_runs, request, name, triplets):
    """Catches cross entropy over a single logit, which is always 0, and a mean in place of a sum over the batch."""
    task = request.getfixturevalue(name)
    config = tiny_runs.config("unused", "data=triplets", f"data.path={triplets}", task=name)
    model = build_model(config, task).eval()
    inputs = task.batch(0, 8, share=0, shares=1).inputs
    outputs = model(**inputs, num_items_in_batch=100)
    logits, labels = outputs.logits.squeeze(-1).double(), inputs["labels"].double()
    if name == "matching":
        expected = -(labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()).sum()
    else:
        expected = ((logits - labels) ** 2).sum()
    assert outputs.logits.shape == (len(labels), 1)
    assert outputs.loss.item() == pytest.approx(expected.item() / 100, rel=1e-5)
    assert model(**inputs).loss.item() == pytest.approx(expected.item() / len(labels), rel=1e-5)


def test_labels_that_are_whole_texts_are_named_in_part(make_task, triplets):
    """Catches pages of text in a message, and several lines, where data.label_column names the wrong column."""
    rows = [json.loads(line) for line in triplets.read_text().splitlines()]
    texts = triplets.parent / "texts.jsonl"
    texts.write_text(
        "\n".join(json.dumps({"A": row["A"], "B": f"{number}\n" + "x" * 500}) for number, row in enumerate(rows))
    )
    with pytest.raises(UserError, match="is not in the train split") as refused:
        make_task("classification", "data=labeled", f"data.path={texts}", "data.text_column=A", "data.label_column=B")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_data_of_another_kind_is_refused(make_task, triplets):
    """Catches a traceback for a task on data that it can make nothing of."""
    path = f"data.path={triplets}"
    with pytest.raises(UserError, match=r"matching needs three texts .* has 2"):
        make_task("matching", path, "data.text_column=[A,B]")
    with pytest.raises(UserError, match=r"matching needs labels B and C.*found '0\.0'"):
        make_task("matching", path, "data.label_column=grade")
    with pytest.raises(UserError, match=r"task\.max_length must be at least 4, got 3"):
        make_task("regression", path, "data.text_column=[A,B]", "data.label_column=grade", "task.max_length=3")
    with pytest.raises(UserError, match=r"data\.text_column is empty"):
        make_task("regression", path, "data.text_column=[]", "data.label_column=grade")
    endless = triplets.parent / "endless.jsonl"
    endless.write_text(triplets.read_text().replace('"grade": 0.3', '"grade": Infinity'))
    with pytest.raises(UserError, match=r"column 'grade' contains inf instead of a label"):
        make_task("regression", f"data.path={endless}", "data.text_column=A", "data.label_column=grade")
    with pytest.raises(UserError, match=r"regression needs numeric labels, and 'B' is none"):
        make_task("regression", path, "data.text_column=A")
    strange = triplets.parent / "strange"
    strange.mkdir(exist_ok=True)
    rows = [json.loads(line) for line in triplets.read_text().splitlines()]
    (strange / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows if row["label"] == "B"))
    (strange / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=r"label 'C' of the test split is not in the train split \(labels there: B\)"):
        make_task("classification", "data=labeled", f"data.path={strange}", "data.text_column=A")
    with pytest.raises(UserError, match="needs documents of one text"):
        make_task("mlm", "data=labeled", path, "data.text_column=[A,B]")
