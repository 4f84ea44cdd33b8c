"""``attention_backend="auto"``: which backend answers which call."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.attention.blocked import BlockedAttention
from roformer.attention.sdpa import SdpaAttention
from roformer.position import ModelShape, PositionEncoding

FAST, SLOW = SdpaAttention, BlockedAttention


@pytest.fixture
def answers(monkeypatch):
    """The function that returns the backend that a call on a CPU reaches."""
    reached = []
    for backend in (FAST, SLOW):
        usual = backend.scaled_dot_product

        def noted(self, *inputs, backend=backend, usual=usual, **more):
            reached.append(backend)
            return usual(self, *inputs, **more)

        monkeypatch.setattr(backend, "scaled_dot_product", noted)

    def ask(length, dtype=torch.float32, *, learns=False, dropout=0.0, keep=None):
        attention = ATTENTION_BACKENDS["auto"](ModelShape(16, 2), dropout=dropout, rotary_value=False).train(learns)
        query, key, value = (torch.zeros(1, 2, length, 8, dtype=dtype, requires_grad=learns) for _ in range(3))
        layout = SequenceLayout(causal=False, mask=keep)
        inputs = AttentionInputs(
            query=query, key=key, value=value, position=PositionEncoding(), state=(), layout=layout, layer=0
        )
        attention.attend(inputs)
        return reached[-1]

    return ask


@pytest.mark.parametrize("length", [4, 2048])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_takes_the_fast_kernel(length, dtype, answers):
    """Catches an evaluation in bfloat16 at two thirds of its speed because training is faster with plain products."""
    assert answers(length, dtype) is FAST


@pytest.mark.parametrize(
    ("length", "dtype", "dropout", "backend"),
    [
        (4, torch.bfloat16, 0.0, SLOW),
        (1024, torch.bfloat16, 0.0, FAST),
        (4, torch.float32, 0.0, FAST),
        (1024, torch.float32, 0.1, SLOW),
    ],
)
def test_training_takes_it_where_its_backward_pass_is_fast(length, dtype, dropout, backend, answers):
    """Catches one rule for both passes: the kernel takes no dropout, and is slow in short sequences in bfloat16."""
    assert answers(length, dtype, learns=True, dropout=dropout) is backend


def test_a_mask_rules_the_kernel_out(answers):
    """Catches padding that leads to PyTorch's slow path."""
    assert answers(4, keep=torch.tensor([True, True, True, False])[None, None, None]) is SLOW
