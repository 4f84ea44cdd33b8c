"""Logits against the RoFormer that comes with transformers, with the same weights, both ways."""

from copy import deepcopy

import pytest
import torch
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM

from roformer.model import RoFormerForMaskedLM

LENGTHS = [1, 2, 17, 512, 1536]
TOLERANCE = 1e-5
STD = 0.1  # at 0.2 the rounding of float32 alone comes to 1e-5 over 1,536 tokens, in both models


@pytest.fixture(scope="module", params=[None, 16], ids=["square", "narrow"])
def embedding_size(request):
    return request.param


@pytest.fixture(scope="module", params=[False, True], ids=["", "rotary_value"])
def choices(request, embedding_size):
    """What both models have to be told."""
    return {"embedding_size": embedding_size, "rotary_value": request.param, "max_position_embeddings": max(LENGTHS)}


@pytest.fixture(scope="module", params=["from stock", "to stock"])
def models(request, choices, sizes, visible_weights, tiny_model):
    """A stock model and ours with the same weights: those of the first, or those of the second."""
    if request.param == "from stock":
        stock = visible_weights(StockRoFormerForMaskedLM(StockConfig(**{**sizes, **choices})), STD)
        return stock, RoFormerForMaskedLM.from_transformers(stock)
    other = {"num_hidden_layers": 3, "hidden_act": "relu", "type_vocab_size": 3, "layer_norm_eps": 1e-5}
    ours = tiny_model("rope", **choices, **other, attention_backend="eager", std=STD)
    return ours.to_transformers(), ours


def batch(length, padding, token_types):
    """Two rows of tokens; padding takes the end of the second."""
    generator = torch.Generator().manual_seed(length)
    inputs = {"input_ids": torch.randint(1, 60, (2, length), generator=generator)}
    if padding:
        inputs["attention_mask"] = torch.ones(2, length, dtype=torch.long)
        inputs["attention_mask"][1, (length + 2) // 3 :] = 0
    if token_types:
        inputs["token_type_ids"] = torch.randint(0, 2, (2, length), generator=generator)
    return inputs


@pytest.mark.parametrize("length", [*LENGTHS[:-1], pytest.param(LENGTHS[-1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("padding", [False, True], ids=["", "padding"])
@pytest.mark.parametrize("token_types", [False, True], ids=["", "types"])
def test_same_logits_as_stock(models, length, padding, token_types):
    """Catches any difference in the architecture: norms, heads, rotation, mask, activation, projection, biases."""
    stock, ours = models
    inputs = batch(length, padding, token_types)
    real = inputs.get("attention_mask", torch.ones(2, length)).bool()
    with torch.no_grad():
        expected, logits = stock(**inputs).logits[real], ours(**inputs).logits[real]
    assert expected.std() > 0.3
    assert (logits - expected).abs().max() <= TOLERANCE


def test_same_logits_as_stock_in_float64(models):
    """Catches what hides below the rounding of float32: here nothing but the order of additions is left."""
    stock, ours = (deepcopy(model).double() for model in models)
    inputs = batch(512, padding=True, token_types=True)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        expected, logits = stock(**inputs).logits[real], ours(**inputs).logits[real]
    assert (logits - expected).abs().max() <= 1e-12


def test_same_loss_and_gradients_as_stock(models):
    """Catches a loss over other labels, and weights that take part in the logits but not in learning."""
    stock, ours = models
    inputs = batch(17, padding=True, token_types=True)
    inputs["labels"] = torch.where(torch.arange(17) % 3 == 0, inputs["input_ids"], -100)
    gradients = []
    for model in (stock, ours):
        model.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        embedding = model.get_input_embeddings().weight.grad
        query = model.roformer.encoder.layer[0].attention.self.query if model is stock else None
        query = query.weight.grad if query else model.roformer.layers[0].query_key_value.weight.grad.chunk(3)[0]
        gradients.append((loss, embedding, query))
    for expected, given in zip(*gradients, strict=True):
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)
