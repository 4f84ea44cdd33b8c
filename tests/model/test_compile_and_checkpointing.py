"""torch.compile without a graph break, and gradient checkpointing: other ways to compute the same."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS
from tests.choices import each_backend, each_hook, each_hook_and_backend, honors

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(params=["padded", "packed"])
def inputs(request):
    """A batch with labels at every third token."""
    batch = request.getfixturevalue(request.param)
    tokens = batch["input_ids"]
    chosen = (torch.arange(tokens.numel()).view(tokens.shape) % 3 == 0) & (tokens > 0)
    return {**batch, "labels": torch.where(chosen, tokens, -100)}


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests():
    torch.compiler.reset()


def gradients(model, inputs):
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]


def assert_same(first, second):
    torch.testing.assert_close(first[0], second[0])
    for given, expected in zip(first[1], second[1], strict=True):
        torch.testing.assert_close(given, expected, atol=1e-6 + 1e-5 * expected.abs().max().item(), rtol=1e-4)


@pytest.mark.slow
@each_backend
@pytest.mark.parametrize("name", ["rope", "alibi"])
def test_compiled_training_step(backend, name, inputs, tiny_model):
    """Catches a graph break, documents that leak where lengths are unknown to Python, a bias that is lost there, and
    gradients that differ."""
    if not honors(backend, name):
        pytest.skip(f"{backend} refuses {name}")
    model = tiny_model(name, attention_backend=backend, num_hidden_layers=1)
    expected = gradients(model, inputs)
    assert_same(gradients(torch.compile(model, fullgraph=True, backend="aot_eager"), inputs), expected)


@pytest.mark.slow
@each_hook
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_compiled_logits_of_each_encoding(encoding, inputs, is_decoder, tiny_model):
    """Catches an encoding that only plain Python can run."""
    model = tiny_model(encoding, num_hidden_layers=1, is_decoder=is_decoder)
    rows = inputs["input_ids"] > 0
    with torch.no_grad():
        logits = torch.compile(model, fullgraph=True, backend="eager")(**inputs).logits
        torch.testing.assert_close(logits[rows], model(**inputs).logits[rows], atol=1e-5, rtol=0)


@each_hook_and_backend
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
def test_gradient_checkpointing(encoding, inputs, backend, tiny_model, monkeypatch):
    """Catches a layer that is computed anew with other arguments, or not computed anew at all."""
    model = tiny_model(encoding, attention_backend=backend).train()
    torch.manual_seed(0)  # of randomized positions
    expected = gradients(model, inputs)
    cls, calls = ATTENTION_BACKENDS[backend], []
    forward = cls.forward
    monkeypatch.setattr(cls, "forward", lambda *args, **named: calls.append(1) or forward(*args, **named))
    model.gradient_checkpointing_enable()
    torch.manual_seed(0)
    assert_same(gradients(model, inputs), expected)
    assert len(calls) == 2 * model.config.num_hidden_layers  # once forward, once more backward
