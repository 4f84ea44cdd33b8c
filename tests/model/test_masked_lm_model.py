"""The masked-language model: its loss, the sparse prediction, the tied output layer."""

import pytest
import torch

from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM

IGNORE_INDEX = -100


@pytest.fixture(params=["padded", "packed"])
def inputs(request):
    """A batch with labels at every third token."""
    batch = request.getfixturevalue(request.param)
    tokens = batch["input_ids"]
    chosen = (torch.arange(tokens.numel()).view(tokens.shape) % 3 == 0) & (tokens > 0)
    return {**batch, "labels": torch.where(chosen, tokens, IGNORE_INDEX)}


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def assert_same_gradients(first, second):
    for given, expected in zip(first, second, strict=True):
        torch.testing.assert_close(given, expected, atol=1e-6 + 1e-5 * expected.abs().max().item(), rtol=1e-4)


def test_loss_is_the_mean_over_labels(inputs, tiny_model):
    """Catches a mean over all tokens, labels that are shifted by one, and a loss in bits."""
    outputs = tiny_model()(**inputs)
    losses = [
        -outputs.logits[row, column].double().log_softmax(-1)[inputs["labels"][row, column]]
        for row, column in (inputs["labels"] != IGNORE_INDEX).nonzero().tolist()
    ]
    torch.testing.assert_close(outputs.loss.double(), torch.stack(losses).mean())
    assert tiny_model()(**{**inputs, "labels": None}).loss is None


@pytest.mark.parametrize("num_items", [None, 40])
def test_sparse_prediction_is_dense_prediction(inputs, num_items, tiny_model):
    """Catches logits of the wrong tokens, and a loss or gradients that the cheaper way changes."""
    model = tiny_model(embedding_size=16)
    dense = model(**inputs, num_items_in_batch=num_items)
    sparse = model(**inputs, num_items_in_batch=num_items, sparse_prediction=True)
    predicted = inputs["labels"] != IGNORE_INDEX
    assert sparse.logits.shape == (int(predicted.sum()), 60)
    torch.testing.assert_close(sparse.logits, dense.logits[predicted])
    torch.testing.assert_close(sparse.loss, dense.loss)
    assert_same_gradients(gradients(model, sparse.loss), gradients(model, dense.loss))


def test_sparse_prediction_costs_what_it_predicts(inputs, tiny_model):
    """Catches logits, or a feed-forward layer at the top, of tokens that nothing is predicted for."""
    model, rows = tiny_model(), {}

    def count(name):
        return lambda module, given, output: rows.update({name: given[0][..., 0].numel()})

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(count(name))
    model(**inputs, sparse_prediction=True)
    tokens, predicted = inputs["input_ids"].numel(), int((inputs["labels"] != IGNORE_INDEX).sum())
    part = {name for name, number in rows.items() if number == predicted}
    assert {rows[name] for name in rows.keys() - part} == {tokens}
    top = {f"roformer.layers.1.{name}" for name in ("attention_output", "intermediate", "output")}
    assert part == top | {"head.dense", "head.decoder"}


def test_weights_of_all_tokens_and_sparse_prediction(padded, tiny_model):
    """Catches weights of a part of the queries, which would pass for those of all."""
    model = tiny_model(attention_backend="eager")
    with pytest.raises(UserError, match="no query_indices"):
        model(**padded, labels=padded["input_ids"], sparse_prediction=True, output_attentions=True)


def test_sparse_prediction_needs_labels(tiny_model):
    """Catches an error about a None in the middle of the head."""
    with pytest.raises(UserError, match="sparse_prediction computes logits where there are labels; give labels"):
        tiny_model()(torch.ones(1, 3, dtype=torch.long), sparse_prediction=True)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_parts_of_a_batch_add_up(padded, as_tensor, sparse, tiny_model):
    """Catches accumulation that weights each part alike, whatever number of labels it has."""
    model, tokens = tiny_model(), padded["input_ids"]
    labels = torch.where((tokens > 0) & (tokens % 2 == 0), tokens, IGNORE_INDEX)
    labels[0, 0] = tokens[0, 0]  # so that no part is without a label
    parts = [slice(0, 2), slice(2, 7), slice(7, 8)]
    assert len({int((labels[part] != IGNORE_INDEX).sum()) for part in parts}) > 1
    count = (labels != IGNORE_INDEX).sum()
    whole = model(**padded, labels=labels).loss
    total = sum(
        model(
            tokens[part],
            attention_mask=padded["attention_mask"][part],
            labels=labels[part],
            sparse_prediction=sparse,
            num_items_in_batch=count if as_tensor else count.item(),
        ).loss
        for part in parts
    )
    torch.testing.assert_close(total, whole)
    assert_same_gradients(gradients(model, total), gradients(model, whole))


def test_loss_is_in_float32(inputs, tiny_model):
    """Catches a softmax over the vocabulary in bfloat16."""
    model = tiny_model().bfloat16()
    outputs = model(**inputs)
    assert outputs.loss.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(outputs.logits.float().flatten(0, 1), inputs["labels"].flatten())
    torch.testing.assert_close(outputs.loss, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("embedding_size", [None, 16])
def test_output_layer_is_tied(embedding_size, tiny_model, tmp_path):
    """Catches two matrices that only start alike, or that part on the way through a file."""
    model = tiny_model(embedding_size=embedding_size)
    model.save_pretrained(tmp_path)
    for each in (model, RoFormerForMaskedLM.from_pretrained(tmp_path)):
        assert each.get_output_embeddings().weight is each.get_input_embeddings().weight
        assert each.get_input_embeddings().weight.shape == (60, embedding_size or 32)


def test_output_layer_may_be_untied(tiny_model, tmp_path):
    """Catches a setting that is ignored, and a file that lacks one of the two matrices."""
    model = tiny_model(tie_word_embeddings=False)
    tokens = torch.arange(1, 13)[None]
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)
    model.save_pretrained(tmp_path)
    assert torch.equal(RoFormerForMaskedLM.from_pretrained(tmp_path)(tokens).logits, model(tokens).logits)


def test_embeddings_may_be_replaced(tiny_model):
    """Catches a setter that does nothing, by which transformers puts other matrices in place."""
    model = tiny_model()
    embeddings, output = torch.nn.Embedding(70, 32), torch.nn.Linear(32, 70)
    model.set_input_embeddings(embeddings)
    model.set_output_embeddings(output)
    assert model.get_input_embeddings() is embeddings
    assert model.get_output_embeddings() is output
    assert model(torch.tensor([[69]])).logits.shape == (1, 1, 70)


@pytest.mark.parametrize("size", [70, 50])
def test_resized_vocabulary_stays_tied(size, tiny_model, tmp_path):
    """Catches an output layer or its bias that keeps the old size, a lost tie, and old tokens that change."""
    model, tokens = tiny_model(embedding_size=16), torch.arange(1, 13)[None]
    before = model(tokens).logits
    model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path)
    kept = min(size, 60)
    for each in (model, RoFormerForMaskedLM.from_pretrained(tmp_path)):
        assert each.get_output_embeddings().weight is each.get_input_embeddings().weight
        assert (each.config.vocab_size, each.head.decoder.bias.shape) == (size, (size,))
        logits = each(tokens).logits
        assert logits.shape == (1, 12, size)
        torch.testing.assert_close(logits[..., :kept], before[..., :kept])
