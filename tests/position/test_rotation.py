"""Long inputs are rotated some tokens at a time: the same numbers, without a float32 copy of all of them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.position import _rotation
from roformer.position._rotation import rotate_interleaved

B, H, L, R = 2, 3, 7, 8


def draw(dtype):
    """Queries as a layer has them, heads beside each other in memory, and the turns of each token."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, L, H, R, generator=generator).to(dtype).transpose(1, 2)
    angles = torch.rand(B, 1, L, R // 2, generator=generator) * 6
    return x.detach().requires_grad_(), (torch.polar(torch.ones_like(angles), angles),)


def rotate(x, turn):
    rotated = rotate_interleaved(x, turn)
    (gradient,) = torch.autograd.grad(rotated.float().pow(3).sum(), x)
    return rotated, gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_pieces_give_the_same(monkeypatch, dtype, tokens):
    """Catches pieces that take the turns of other tokens, and a gradient that is not turned back."""
    x, turn = draw(dtype)
    expected = rotate(x, turn)
    monkeypatch.setattr(_rotation, "_PIECE", tokens * B * H * R)
    given = rotate(x, turn)
    for one, other in zip(given, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_second_derivatives(monkeypatch):
    """Catches a gradient that cannot be differentiated, as penalties on gradients do."""
    x, turn = draw(torch.float64)
    monkeypatch.setattr(_rotation, "_PIECE", B * H * R)
    assert torch.autograd.gradgradcheck(lambda x: rotate_interleaved(x, turn).pow(3), x)


class LargestInFloat32(TorchDispatchMode):
    """Notes the size of the largest result in float32."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if torch.is_tensor(result) and result.dtype == torch.float32:
            self.size = max(self.size, result.numel())
        return result


def test_no_float32_copy_of_all(monkeypatch):
    """Catches a copy that leaves the processor's cache."""
    x, turn = draw(torch.bfloat16)
    monkeypatch.setattr(_rotation, "_PIECE", 2 * B * H * R)
    with LargestInFloat32() as largest:
        rotated = rotate_interleaved(x, turn)
        rotated.backward(torch.ones_like(rotated))
    assert largest.size == 2 * B * H * R
