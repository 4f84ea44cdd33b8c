"""Linear attention to packed documents without a loop over them: the same as one document after the other."""

from dataclasses import replace

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout
from roformer.attention._chunks import DocumentChunks
from roformer.position import POSITION_ENCODINGS, ModelShape
from tests.choices import each_linear_backend

H, D = 2, 8
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H)
LENGTHS = (13, 1, 0, 8, 40, 3, 0)
TOTAL = sum(LENGTHS)


def attend(name, *, causal, chunk, dtype=torch.float64, encoding="rope"):
    """Returns output and gradients of packed documents; ``chunk`` None for the loop."""
    torch.manual_seed(0)
    backend = ATTENTION_BACKENDS[name](SHAPE, dropout=0.0, rotary_value=True).eval()
    position = POSITION_ENCODINGS[encoding](SHAPE)
    heads = torch.randn(3, 1, H, TOTAL, D, dtype=torch.float64).to(dtype).unbind(0)
    query, key, value = (x.clone().requires_grad_() for x in heads)
    layout = SequenceLayout.packed(torch.tensor([0, *LENGTHS]).cumsum(0), TOTAL, causal=causal, lengths=LENGTHS)
    if chunk is not None:
        layout = replace(layout, arranged=DocumentChunks.of(layout, TOTAL, chunk))
    state = position.prepare(torch.cat([torch.arange(length) for length in LENGTHS])[None])
    output, _ = backend(
        AttentionInputs(
            query=query, key=key, value=value, position=position, state=state, layout=layout, layer=0,
            query_indices=torch.arange(0, TOTAL, 2),
        )
    )  # fmt: skip
    gradients = torch.autograd.grad(output.pow(2).sum(), (query, key, value))
    return output.detach(), gradients


@each_linear_backend
@pytest.mark.parametrize("encoding", ["none", "rope"])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_the_same_as_the_loop(linear_backend, encoding, causal, chunk):
    """Catches sums over another document, over what a chunk is filled up with, and over later tokens."""
    given = attend(linear_backend, causal=causal, chunk=chunk, encoding=encoding)
    expected = attend(linear_backend, causal=causal, chunk=None, encoding=encoding)
    # one number is taken off all keys, which cancels, but for what it rounds in float32
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


@each_linear_backend
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_bfloat16_is_exact_enough(linear_backend, causal):
    """Catches sums in bfloat16: their error would grow with the length."""
    exact, _ = attend(linear_backend, causal=causal, chunk=4, encoding="none")
    rounded, _ = attend(linear_backend, causal=causal, chunk=4, encoding="none", dtype=torch.bfloat16)
    assert (rounded.double() - exact).abs().max() < 0.02 * exact.abs().max()
