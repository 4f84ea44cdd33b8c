"""Classification: what is read of a document, and that predictions stay with their documents."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from roformer.errors import UserError
from roformer.training.warm_start import build_model


@pytest.fixture
def classification(make_task):
    return make_task("classification")


def test_documents_are_cut_and_framed(make_task):
    """Catches a limit that forgets the special tokens, and one that cuts the head instead of the tail."""
    short, long = make_task("classification", "task.max_length=12"), make_task("classification")
    for index in range(5):
        ((document, _),) = short.examples("train", index)
        assert len(document) == 12
        assert document[0] == short.tokenizer.cls_token_id
        assert document[-1] == short.tokenizer.sep_token_id
        np.testing.assert_array_equal(document[1:-1], long.corpus.splits["train"].document(index)[:10])


def test_token_counts_are_those_of_what_is_read(make_task):
    """Catches counts of whole documents, which a baseline would read and no model, and a token counted in parts."""
    task = make_task("classification", "task.max_length=12")
    counts = task.token_counts("train")
    assert counts.shape == (task.rows, len(task.tokenizer))
    for index in range(5):
        expected = np.bincount(task.examples("train", index)[0][0], minlength=len(task.tokenizer))
        assert counts[index].toarray()[0].tolist() == expected.tolist()
        assert sorted(counts[index].data) == sorted(expected[expected > 0])


def test_labels_stay_with_their_documents(classification):
    """Catches documents sorted by length without their labels."""
    train = classification.corpus.splits["train"]
    label_of = {tuple(train.document(i)[:30].tolist()): int(train.labels[i]) for i in range(len(train))}
    inputs = classification.batch(0, 16, share=0, shares=1).inputs
    bounds = inputs["cu_seqlens"].tolist()
    assert len(set(inputs["labels"].tolist())) == 3
    for number, label in enumerate(inputs["labels"].tolist()):
        tokens = inputs["input_ids"][0, bounds[number] + 1 : bounds[number + 1] - 1]
        assert label_of[tuple(tokens.tolist())] == label


class FirstToken(nn.Module):
    """Predicts the class that a table has for a document's first ordinary token."""

    def __init__(self, classes):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(300, classes, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids, cu_seqlens, labels, num_items_in_batch, document_lengths):
        logits = self.logits[input_ids[0, cu_seqlens[:-1] + 1]]
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum") / num_items_in_batch
        return type("Output", (), {"logits": logits, "loss": loss})


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_predictions_come_back_in_the_order_of_the_split(classification, batch_tokens):
    """Catches predictions in the order of their length: accuracy would be measured against foreign labels."""
    split, model = classification.corpus.splits["test"], FirstToken(3).train()
    predictions, loss = classification.predict(model, "test", batch_tokens)
    logits = torch.stack([model.logits[int(split.document(index)[0])] for index in range(len(split))])
    assert predictions.tolist() == logits.argmax(-1).tolist()
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(split.labels))
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert model.training


def test_metrics_are_those_of_scikit_learn(classification):
    """Catches accuracy or F1 of another split, or averaged in another way."""
    model, labels = FirstToken(3), classification.corpus.splits["validation"].labels
    predictions, _ = classification.predict(model, "validation")
    metrics = classification.evaluate(model, "validation")
    assert set(metrics) == {"validation_loss", "validation_accuracy", "validation_macro_f1"}
    assert metrics["validation_accuracy"] == np.mean(predictions == labels)
    assert metrics["validation_macro_f1"] == f1_score(labels, predictions, average="macro")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_model_gets_the_labels_and_the_pooling(tiny_runs, make_task, pooling):
    """Catches exports whose classes are LABEL_0, LABEL_1, and a pooling that stays at its default."""
    task = make_task("classification", f"task.pooling={pooling}", "task.classifier_dropout=0.25")
    config = build_model(tiny_runs.config("unused", f"task.pooling={pooling}", task="classification"), task).config
    assert config.id2label == {0: "forest", 1: "kitchen", 2: "sea"}
    assert config.label2id == {"forest": 0, "kitchen": 1, "sea": 2}
    assert (config.pooling, config.classifier_dropout, config.num_labels) == (pooling, 0.25, 3)


def test_text_without_labels_is_refused(tiny_runs, make_task):
    """Catches a classifier with no class."""
    unlabeled = ("data=text", f"data.path={tiny_runs.text}")
    with pytest.raises(UserError, match="needs labeled data: data=docs_topics, or data=labeled"):
        make_task("classification", *unlabeled)


def test_a_length_without_room_is_refused(make_task):
    """Catches documents of nothing but special tokens."""
    with pytest.raises(UserError, match=r"task\.max_length must be at least 3, got 2"):
        make_task("classification", "task.max_length=2")
