"""Cross entropy in parts: the same loss and gradient as PyTorch's, without a float32 copy of all logits."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from roformer.ops import cross_entropy
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss, token_losses

N, V = 23, 11


@pytest.fixture(autouse=True)
def _parts_of_five_rows(monkeypatch):
    monkeypatch.setattr(cross_entropy, "_CHUNK_ON_CPU", 5 * V)


@pytest.fixture
def labels():
    drawn = torch.randint(0, V, (N,), generator=torch.Generator().manual_seed(0))
    drawn[::4] = IGNORE_INDEX
    return drawn


def draw(dtype, size=4.0):
    return (size * torch.randn(N, V, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_items", [None, 7, torch.tensor(7)])
def test_same_as_pytorchs(labels, dtype, num_items):
    """Catches parts that lie at other rows, labels that are ignored and count, and a gradient in another scale."""
    logits = draw(dtype).requires_grad_()
    given = mean_loss(logits, labels, num_items)
    exact = logits.detach().double().requires_grad_()
    expected = F.cross_entropy(exact, labels, reduction="sum") / (num_items or (labels != IGNORE_INDEX).sum())
    assert given.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert given.item() == pytest.approx(expected.item(), rel=1e-12 if dtype == torch.float64 else 1e-6)
    (3 * given).backward()
    (3 * expected).backward()
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(
        logits.grad.double(), exact.grad, rtol=1e-2, atol={torch.float64: 1e-15}.get(dtype, 1e-7)
    )


def test_large_logits_do_not_overflow(labels):
    """Catches an exponential before the maximum is taken off."""
    logits = draw(torch.float32, size=1000.0).requires_grad_()
    given = mean_loss(logits, labels, None)
    given.backward()
    assert given.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert logits.grad.isfinite().all()


class Exponentials(TorchDispatchMode):
    """Counts the numbers of which an exponential is taken."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket._qualified_op_name.split("::")[1] in ("exp", "exp_", "logsumexp"):
            self.count += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_exponentials_are_taken_once(labels):
    """Catches a backward pass that computes the softmax again: the exponentials are the costly part of a loss."""
    with Exponentials() as exponentials:
        mean_loss(draw(torch.bfloat16).requires_grad_(), labels, None).backward()
    assert exponentials.count == N * V


@pytest.mark.parametrize("learns", [True, False])
def test_no_labels(learns):
    """Catches parts that do not fit each other where a batch has no predicted token."""
    logits = torch.zeros(0, V, requires_grad=learns)
    assert mean_loss(logits, torch.zeros(0, dtype=torch.long), 1).item() == 0


class Float32Sizes(TorchDispatchMode):
    """Notes of every result in float32 how many numbers it has."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        self.found += [each.numel() for each in tensors if torch.is_tensor(each) and each.dtype == torch.float32]
        return result


@pytest.mark.parametrize("work", ["mean_loss", "gradient", "smoothed", "token_losses"])
def test_never_more_than_a_part_in_float32(labels, work):
    """Catches a float32 copy of all logits, which at a real vocabulary is the largest tensor of a step."""
    logits = draw(torch.bfloat16).requires_grad_(work == "gradient")
    with Float32Sizes() as sizes:
        if work == "token_losses":
            token_losses(logits, labels.where(labels != IGNORE_INDEX, 3))
        else:
            given = mean_loss(logits, labels, None, smoothing=0.1 * (work == "smoothed"))
            if work == "gradient":
                given.backward()
    assert max(sizes.found) == 5 * V


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_losses_of_tokens(labels, dtype):
    """Catches parts that lie at other rows."""
    logits, wanted = draw(dtype), labels.where(labels != IGNORE_INDEX, 3)
    expected = F.cross_entropy(logits.double(), wanted, reduction="none")
    losses, correct = token_losses(logits, wanted)
    torch.testing.assert_close(losses.double(), expected, rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=1e-6)
    assert correct.tolist() == (logits.argmax(-1) == wanted).tolist()
    assert [len(each) for each in token_losses(logits[:0], wanted[:0])] == [0, 0]


def test_no_label_at_all():
    """Catches an index of -100, and a gradient of rows that nothing is known of."""
    logits = draw(torch.float32).requires_grad_()
    mean_loss(logits, torch.full((N,), IGNORE_INDEX), 4).backward()
    assert logits.grad.abs().max() == 0
