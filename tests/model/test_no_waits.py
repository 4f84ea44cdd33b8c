"""A training step on packed documents never waits for the device, and its layers can be compiled one by one.

On the ``meta`` device tensors have shapes and no numbers: whatever asks for a number, as ``.item()``, ``.tolist()``,
``bool()`` and indexing by a mask do, raises an error there. So would the host wait on a GPU.
"""

import random
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention import flex_attention
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.attention import flex
from roformer.model import RoFormerForCausalLM, RoFormerForMaskedLM, RoFormerForSequenceClassification
from tests.choices import each_encoding, each_linear_backend

LENGTHS = (40, 7, 40, 1, 8)
TOTAL = sum(LENGTHS)
MODELS = {
    "mlm": (RoFormerForMaskedLM, {}),
    "causal_lm": (RoFormerForCausalLM, {"is_decoder": True}),
    "classification": (RoFormerForSequenceClassification, {"num_labels": 2}),
}


def batch(task, lengths=LENGTHS):
    total = sum(lengths)
    inputs = {
        "input_ids": torch.ones(1, total, dtype=torch.long, device="meta"),
        "cu_seqlens": torch.tensor([0, *lengths]).cumsum(0).to("meta"),
        "document_lengths": lengths,
        "num_items_in_batch": 9,
    }
    if task == "classification":
        return {**inputs, "labels": torch.zeros(len(lengths), dtype=torch.long, device="meta")}
    return {
        **inputs,
        "labels": torch.ones(1, total, dtype=torch.long, device="meta"),
        "query_indices": torch.arange(0, total, 5, device="meta"),
    }


@pytest.fixture(autouse=True)
def _meta_stands_for_a_gpu(monkeypatch):
    """``meta`` knows no autocast, and FlexAttention refuses it, although its shapes are those of a GPU."""
    autocast = torch.autocast
    monkeypatch.setattr(
        torch,
        "autocast",
        lambda device, **settings: nullcontext() if device == "meta" else autocast(device, **settings),
    )
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    monkeypatch.setattr(flex, "_kernel", lambda: flex_attention.flex_attention)


@pytest.fixture
def model_on_meta(tiny_model):
    def build(encoding, task="mlm", **settings):
        model_class, more = MODELS[task]
        settings = {"hidden_size": 32, "attention_probs_dropout_prob": 0.0, **more, **settings}
        return tiny_model(encoding, model_class=model_class, **settings).to("meta", torch.bfloat16).train()

    return build


class Calls(TorchDispatchMode):
    """Notes the names of the operators."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name().split("::")[-1].split(".")[0])
        return func(*args, **(kwargs or {}))


@each_encoding
@pytest.mark.parametrize("task", list(MODELS))
def test_a_step_asks_for_no_number(encoding, task, model_on_meta):
    """Catches each place where Python would have to wait for the device, whatever the encoding adds."""
    model = model_on_meta(encoding, task)
    model(**batch(task)).loss.backward()
    assert all(parameter.grad is not None for parameter in model.roformer.layers.parameters())


@each_linear_backend
@pytest.mark.parametrize("task", list(MODELS))
def test_linear_attention_loops_over_no_documents(linear_backend, task, model_on_meta):
    """Catches small kernels for each document, and a number that they ask for."""
    model = model_on_meta("rope", task, attention_backend=linear_backend)

    def calls(lengths):
        with Calls() as found:
            model(**batch(task, lengths)).loss.backward()
        return len(found.names)

    assert calls((40, 56)) == calls((3, 7) * 9 + (6,))


@pytest.mark.parametrize("missing", ["document_lengths", "query_indices"])
def test_without_the_lengths_it_asks(missing, model_on_meta):
    """Catches a test that cannot fail."""
    inputs = batch("mlm")
    del inputs[missing]
    with pytest.raises((RuntimeError, NotImplementedError), match=r"meta"):
        model_on_meta("rope")(**inputs)


@each_encoding
def test_one_kernel_for_all_documents(encoding, model_on_meta, monkeypatch):
    """Catches a loop over documents on a GPU where the encoding allows one kernel."""
    model = model_on_meta(encoding)
    if model.roformer.position.adds_to_scores and not model.roformer.position.traits.positional_bias:
        pytest.skip("what it adds depends on queries and keys: one run of documents of one length after the other")
    blocks = []
    monkeypatch.setattr(flex, "_kernel", lambda: lambda q, k, v, **how: blocks.append(how["block_mask"]) or q + k + v)

    def calls(lengths):
        with Calls() as found:
            model(**batch("mlm", lengths)).loss.backward()
        return found.names

    few, many = calls((40, 56)), calls((3, 7) * 9 + (6,))
    layers = len(model.roformer.layers)
    assert len(blocks) / 2 + many.count("_varlen_attn") == layers
    assert len({id(each) for each in blocks}) in (0, 2)  # made once for all layers
    assert encoding == "randomized" or len(few) == len(many)  # which draws for each document


@pytest.mark.parametrize(
    "encoding", ["rope", "learned", *(pytest.param(name, marks=pytest.mark.slow) for name in ("t5", "kerple", "fire"))]
)
@torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True)
def test_compiled_layers(encoding, model_on_meta):
    """Catches a graph break, and code that is compiled anew for each layer or for each set of documents."""
    torch.compiler.reset()
    counters.clear()
    model = model_on_meta(encoding, num_hidden_layers=4, max_position_embeddings=512)
    for layer in model.roformer.layers:
        layer.compile(fullgraph=True, backend="eager")
    rng = random.Random(0)
    graphs = []
    for _ in range(20):
        bounds = [0, *sorted(rng.sample(range(1, 200), rng.randint(2, 9))), 512]
        lengths = tuple(stop - start for start, stop in pairwise(bounds))
        model(**batch("mlm", lengths)).loss.backward()
        graphs.append(counters["stats"]["unique_graphs"])
    # one of the last layer, one of the others, which may differ from the first in their number
    assert graphs[0] in (2, 3)
    assert graphs[-1] - graphs[0] == 2  # the number of documents varies
    assert graphs[2:] == graphs[-1:] * 18
