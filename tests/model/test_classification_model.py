"""The classifier: what it reads of a sequence, padded, packed and alone, and its loss."""

import pytest
import torch

from roformer.model import RoFormerForSequenceClassification
from tests.choices import each_encoding, each_hook_and_backend

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(params=["cls", "mean"])
def pooling(request):
    return request.param


@pytest.fixture
def classifier(tiny_model):
    def build(name="rope", **config):
        return tiny_model(name, model_class=RoFormerForSequenceClassification, num_labels=5, **config)

    return build


@each_hook_and_backend
def test_packed_is_padded_is_alone(encoding, backend, pooling, classifier, documents, packed, padded):
    """Catches a mean over padding or over other documents, and a first token that is another document's."""
    model = classifier(encoding, pooling=pooling, attention_backend=backend)
    alone = torch.cat([model(document[None]).logits for document in documents])
    assert alone.shape == (len(documents), 5)
    torch.testing.assert_close(model(**packed).logits, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(**padded).logits, alone, atol=1e-5, rtol=0)


def test_pooling_reads_what_it_says(pooling, classifier, documents):
    """Catches a setting that is ignored: the classifier on the first output, or on the mean of all."""
    model, tokens = classifier(pooling=pooling), documents[6][None]
    outputs = model.roformer(tokens).last_hidden_state[0]
    expected = model.classifier(outputs[0] if pooling == "cls" else outputs.sum(0) / len(outputs))
    torch.testing.assert_close(model(tokens).logits[0], expected)


def test_loss_and_parts_of_a_batch(classifier, pooling, padded, packed):
    """Catches a loss of packed documents in another order, and parts of a batch that do not add up to its mean."""
    model = classifier(pooling=pooling)
    labels = torch.arange(8) % 5
    logits = model(**padded).logits.double()
    expected = -torch.stack([logits[row].log_softmax(-1)[label] for row, label in enumerate(labels)]).mean()
    whole = model(**padded, labels=labels).loss
    torch.testing.assert_close(whole.double(), expected)
    torch.testing.assert_close(model(**packed, labels=labels).loss, whole)
    parts = sum(
        model(
            padded["input_ids"][part],
            attention_mask=padded["attention_mask"][part],
            labels=labels[part],
            num_items_in_batch=8,
        ).loss
        for part in (slice(0, 3), slice(3, 8))
    )
    torch.testing.assert_close(parts, whole)


@each_encoding
def test_every_weight_learns(encoding, pooling, classifier, packed):
    """Catches a part of the model that the loss does not reach."""
    model = classifier(encoding, pooling=pooling)
    model(**packed, labels=torch.arange(8) % 5).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("own", "expected"), [(None, 0.3), (0.0, 0.0), (0.6, 0.6)])
def test_dropout_before_the_classifier(own, expected, classifier):
    """Catches a dropout of 0 that counts as not given."""
    assert classifier(hidden_dropout_prob=0.3, classifier_dropout=own).dropout.p == expected


def test_hidden_states_and_weights_are_passed_on(classifier, padded):
    """Catches a head that drops what the encoder was asked for."""
    outputs = classifier(attention_backend="eager")(**padded, output_hidden_states=True, output_attentions=True)
    assert (len(outputs.hidden_states), len(outputs.attentions)) == (3, 2)


def test_mean_in_bfloat16(classifier, padded, packed):
    """Catches a mean of packed documents that needs float32."""
    model = classifier(pooling="mean")
    expected = model(**padded).logits
    for inputs in (padded, packed):
        logits = model.bfloat16()(**inputs).logits
        assert logits.dtype == torch.bfloat16
        assert (logits.float() - expected).norm() < 0.05 * expected.norm()
