"""Dropout on a CPU: the right share, the right scale, in training only."""

import pytest
import torch

from roformer.ops.dropout import Dropout, draw_kept


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_and_scale(p, dtype):
    """Catches survivors that are not scaled, and a share other than p; both in the gradient as well."""
    torch.manual_seed(0)
    x = torch.ones(401, 499, dtype=dtype, requires_grad=True)  # no multiple of four
    dropped = Dropout(p)(x)
    dropped.sum().backward()
    assert dropped.dtype == dtype
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=5e-3)
    assert torch.equal(x.grad, dropped)


def test_elements_are_independent():
    """Catches the bytes of one random number that hang together: each pair of neighbors keeps both or neither."""
    kept = draw_kept(torch.Size([4, 250_000]), 0.5, torch.Generator().manual_seed(1)).float()
    for lag in (1, 2, 3, 4):
        flat = kept.flatten()
        assert (flat[lag:] * flat[:-lag]).mean().item() == pytest.approx(0.25, abs=0.003)
    assert kept.view(-1, 4).mean(dim=0).tolist() == pytest.approx([0.5] * 4, abs=0.005)


def test_nothing_is_dropped_in_evaluation_or_at_zero():
    """Catches dropout that is always on."""
    x = torch.randn(50)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_seed_decides():
    """Catches a generator of its own: a resumed run has to drop the same elements."""
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.5)(torch.ones(100)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
