"""Speed without a clock: how many operations a training step asks for, which kernels, and on how many numbers.

A slow path that comes back (padding, logits everywhere, a loop over tokens or a table made in each layer)
shows here as a larger count, on any machine.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout, blocked
from roformer.model import RoFormerForMaskedLM, RoFormerLabConfig
from roformer.position import POSITION_ENCODINGS, ModelShape

LAYERS, HEADS, WIDTH, VOCABULARY = 3, 2, 16, 50
LENGTHS = (40, 40, 40, 24, 24, 9)  # three runs of documents of one length
STARTS = [sum(LENGTHS[:i]) for i in range(len(LENGTHS))]
TOKENS = sum(LENGTHS)
FREE = {  # they only look at memory in another way
    "_conj", "_unsafe_view", "alias", "detach", "expand", "permute", "promote_types", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "view_as_complex", "view_as_real",
}  # fmt: skip


class Counting(TorchDispatchMode):
    """Counts the operations by name, and the numbers that each kind of product multiplies."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()
        self.multiplied = Counter()
        self.types = Counter()

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        name = operation.overloadpacket.__name__
        self.calls[name] += name not in FREE
        if name in ("mm", "bmm", "addmm"):
            left, right = [x for x in arguments if torch.is_tensor(x)][-2:]
            self.multiplied[name] += left.numel() * right.shape[-1]
            self.types[left.dtype] += 1
        return operation(*arguments, **(named or {}))


def step(backend="blocked", position="rope", layers=LAYERS, **settings):
    """Returns what a forward and a backward pass count, on packed documents; an eighth of the tokens is predicted."""
    config = RoFormerLabConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        position={"name": position, **settings}, attention_backend=backend,
    )  # fmt: skip
    model = RoFormerForMaskedLM(config).train()
    tokens = torch.arange(TOKENS)[None] % VOCABULARY
    labels = torch.where(torch.arange(TOKENS) % 8 == 0, tokens, -100)
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    with Counting() as counted:
        model(tokens, labels=labels, cu_seqlens=bounds, sparse_prediction=True).loss.backward()
    counted.predicted = int((labels != -100).sum())
    return counted


def test_products_are_those_that_the_work_needs():
    """Catches padding, attention across documents, logits of tokens that nobody asks for, and a second computation."""
    counted = step()
    predicted = counted.predicted
    # forward and two of backward, of: queries, keys and values; output layer; two feed-forward layers; head
    weights = LAYERS * TOKENS * 3 * WIDTH**2
    weights += ((LAYERS - 1) * TOKENS + predicted) * (WIDTH**2 + 8 * WIDTH**2)
    weights += predicted * (WIDTH**2 + WIDTH * VOCABULARY)
    assert counted.multiplied["mm"] + counted.multiplied["addmm"] == 3 * weights
    # scores and sums of values, forward and twice backward; at the top from the predicted tokens of each document
    wanted = [sum(1 for t in range(start, start + n) if t % 8 == 0) for start, n in zip(STARTS, LENGTHS, strict=True)]
    most = {n: max(w for w, m in zip(wanted, LENGTHS, strict=True) if m == n) for n in LENGTHS}
    pairs = (LAYERS - 1) * sum(n * n for n in LENGTHS) + sum(most[n] * n for n in LENGTHS)
    assert counted.multiplied["bmm"] == 3 * 2 * WIDTH * pairs


def test_operations_of_a_step():
    """Catches a loop over documents or tokens, and work that is repeated in each layer.

    Documents of one length are one batch, so that three runs mean three attentions a layer.
    """
    counted = step()
    assert counted.calls["bmm"] == 6 * 3 * LAYERS
    assert counted.calls["cos"] == counted.calls["sin"] == 1
    assert counted.calls["_softmax"] == 3 * LAYERS
    per_layer = sum(step(layers=LAYERS + 1).calls.values()) - sum(counted.calls.values())
    assert per_layer <= 88
    assert sum(counted.calls.values()) - LAYERS * per_layer <= 130


def test_operations_of_a_rotation():
    """Catches a rotation that is written out in real numbers: eight passes over the queries instead of three."""
    more = sum(step().calls.values()) - sum(step(position="none").calls.values())
    assert more <= 12 * LAYERS


def test_halves_are_rotated_in_real_numbers():
    """Catches complex numbers for pairs that do not lie next to each other: they are copied there and back, and a
    compiler cannot fuse them."""
    counted = step(layout="half")
    assert not [name for name in counted.calls if "complex" in name]
    assert sum(counted.calls.values()) - sum(step(position="none").calls.values()) <= 34 * LAYERS


@pytest.mark.parametrize(
    ("backend", "kernel"),
    [
        ("sdpa", "_scaled_dot_product_flash_attention_for_cpu"),
        ("blocked", "_softmax"),
        ("eager", "_softmax"),
    ],
)
def test_the_kernel_of_each_backend(backend, kernel):
    """Catches a mask or a bias of nothing, for which PyTorch takes its slow kernel."""
    calls = step(backend).calls
    kernels = {name for name in calls if "softmax" in name or "scaled_dot_product" in name}
    assert {name for name in kernels if "_backward" not in name} == {kernel}


def test_blocks_never_hold_more_than_a_block_of_scores(monkeypatch):
    """Catches a backend that falls back to all scores at once: the same result, in memory that grows as L x L."""
    monkeypatch.setattr(blocked, "_SHORT", 8)
    monkeypatch.setattr(blocked, "_BLOCK_SCORES", 200)
    sizes, softmax = [], torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: sizes.append(x.numel()) or softmax(x, dim))
    step("blocked")
    assert max(sizes) <= 200
    assert len(sizes) > 3 * LAYERS


@pytest.mark.parametrize(("window", "short", "long"), [(64, 2048, 8192), (400, 2400, 9600)])
@pytest.mark.parametrize("causal", [False, True])
def test_products_within_a_window(window, short, long, causal):
    """Catches pairs of tokens beyond the window, which a mask would leave out after their products: the work of a
    token grows with the length."""
    shape = ModelShape(hidden_size=WIDTH, num_attention_heads=HEADS)
    attention = ATTENTION_BACKENDS["blocked"](shape, dropout=0.0, rotary_value=False)
    layout, none = SequenceLayout(causal=causal, window=window), POSITION_ENCODINGS["none"](shape)

    def per_token(length):
        query, key, value = torch.randn(3, 1, HEADS, length, WIDTH // HEADS, requires_grad=True).unbind(0)
        with Counting() as found:
            output, _ = attention(
                AttentionInputs(query=query, key=key, value=value, position=none, state=(), layout=layout, layer=1)
            )
            output.sum().backward()
        return found.multiplied["bmm"] / length

    keys = window + max(window, 64) + (0 if causal else window)  # of a block
    again = 1 if keys > 1024 else 0  # weights that are not kept
    assert per_token(long) == per_token(short) == (6 + again) * WIDTH * keys


@pytest.mark.parametrize("backend", ["linear", "efficient", "favor_plus"])
def test_products_of_linear_attention(backend):
    """Catches pairs of tokens beyond a chunk, and products in float32, which takes many times as long."""
    shape = ModelShape(hidden_size=WIDTH, num_attention_heads=HEADS)
    attention = ATTENTION_BACKENDS[backend](shape, dropout=0.0, rotary_value=False)
    rope, layout = POSITION_ENCODINGS["rope"](shape), SequenceLayout.padded(None, causal=True)

    def counted(length):
        qkv = torch.randn(3, 1, HEADS, length, WIDTH // HEADS, dtype=torch.bfloat16, requires_grad=True)
        state = rope.prepare(torch.arange(length)[None])
        with Counting() as found:
            query, key, value = qkv.unbind(0)
            output, _ = attention(
                AttentionInputs(query=query, key=key, value=value, position=rope, state=state, layout=layout, layer=0)
            )
            output.sum().backward()
        return found

    short, long = counted(1024), counted(4096)
    assert long.multiplied["bmm"] == 4 * short.multiplied["bmm"]
    products = long.types[torch.bfloat16] / sum(long.types.values())
    assert products == 1 if backend != "favor_plus" else products > 0.7  # the logarithms of its features are exact
