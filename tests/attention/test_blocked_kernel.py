"""``blocked`` leaves plain forward passes to PyTorch's kernel, and only those."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.attention import ATTENTION_BACKENDS
from roformer.attention.blocked import _KERNEL, _SHORT
from roformer.position import ModelShape

B, H, D = 1, 2, 8
KERNELS = {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"}


class Calls(TorchDispatchMode):
    """Notes the names of the operators."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket._qualified_op_name.split("::")[1])
        return func(*args, **(kwargs or {}))


def backend(name, dropout=0.0):
    return ATTENTION_BACKENDS[name](ModelShape(hidden_size=H * D, num_attention_heads=H), dropout, False)


def attend(name, length, *, learns, queries=None, dropout=0.0, **terms):
    """Returns the output, the gradients, and the operators of the forward pass."""
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(B, H, length, D, generator=generator) for _ in range(3))
    query, key, value = (x.requires_grad_(learns) for x in drawn)
    with Calls() as calls:
        output, _ = backend(name, dropout).scaled_dot_product(
            query[:, :, -(queries or length) :], key, value, **{"bias": None, "mask": None, "causal": False} | terms
        )
    gradients = torch.autograd.grad(output.pow(2).sum(), (query, key, value)) if learns else ()
    return output.detach(), gradients, calls.names


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [_KERNEL, _SHORT + 1])
def test_the_kernel_gives_the_same(length, causal, learns):
    """Catches queries that are scaled twice, and a causal mask that the kernel does not get."""
    *given, _ = attend("blocked", length, learns=learns, causal=causal)
    *expected, _ = attend("eager", length, learns=learns, causal=causal)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


def test_plain_forward_passes_are_the_kernels():
    """Catches plain products where the kernel is faster: all inference, and the forward pass of long training."""
    assert attend("blocked", _KERNEL, learns=False)[2] & KERNELS
    assert attend("blocked", _SHORT + 1, learns=True)[2] & KERNELS


@pytest.mark.parametrize(
    "terms",
    [
        {"bias": torch.zeros(1, H, 1, _SHORT + 1)},
        {"mask": torch.ones(1, 1, 1, _SHORT + 1, dtype=torch.bool)},
        {"dropout": 0.1},
        {"causal": True, "queries": 3},
    ],
    ids=["bias", "mask", "dropout", "cached"],
)
@pytest.mark.parametrize("learns", [True, False])
def test_the_rest_is_not(terms, learns):
    """Catches a term that the kernel would lose, or a mask with which it is slow."""
    assert not attend("blocked", _SHORT + 1, learns=learns, **terms)[2] & KERNELS


def test_short_training_keeps_its_weights():
    """Catches the kernel's backward pass, which is slower than plain products on short sequences."""
    assert not attend("blocked", _SHORT, learns=True)[2] & KERNELS
