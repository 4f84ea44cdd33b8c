"""Cross entropy over a vocabulary in float32, without a float32 copy of all logits."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

IGNORE_INDEX = -100  # the label that counts for nothing, as everywhere in PyTorch
# logits that are in float32 at a time
_CHUNK_ON_CPU = 1 << 18  # 1 MiB: they stay in the cache of a core
_CHUNK_ON_ACCELERATOR = 1 << 26  # 256 MB, in few kernels; not measured


def mean_loss(
    logits: Tensor, labels: Tensor, num_items_in_batch: int | Tensor | None, *, smoothing: float = 0.0
) -> Tensor:
    """Returns the cross entropy in nats, computed in float32 at least, over the labels that are not ``IGNORE_INDEX``.

    Args:
        logits: (N, V).
        labels: (N,).
        num_items_in_batch: divides the sum; None means the number of labels that count.
        smoothing: share of each label that is spread evenly over the vocabulary (Szegedy et al. 2016,
            arXiv:1512.00567, section 7).
    """
    if torch.compiler.is_compiling():  # which fuses the steps itself
        total = F.cross_entropy(
            logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=smoothing
        )
    else:
        total = _SummedCrossEntropy.apply(logits, labels, smoothing)  # type: ignore[no-untyped-call]
    return total / ((labels != IGNORE_INDEX).sum() if num_items_in_batch is None else num_items_in_batch)


def token_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns of each label its cross entropy in nats, in float32 at least, and whether it is the most probable one.

    Args:
        logits: (N, V).
        labels: (N,), none of them ``IGNORE_INDEX``.
    """
    parts, losses, correct = _in_float32(logits), [], []
    for part, targets in zip(parts, labels.split(_rows(logits)), strict=True):
        losses.append(F.cross_entropy(part, targets, reduction="none"))
        correct.append(part.argmax(dim=-1) == targets)
    return torch.cat(losses), torch.cat(correct)


class _SummedCrossEntropy(torch.autograd.Function):
    """log sum exp - logit of the label, some rows at a time; the gradient is the softmax less one at the label. With
    smoothing, that logit and that one are shared with all others.

    The forward pass writes the gradient as well: its exponentials are the costly part, and the logits, of which only
    the gradient is kept, can go."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        counted = (labels != IGNORE_INDEX)[:, None]
        rows, losses = _rows(logits), []
        targets = labels[:, None].where(counted, 0).split(rows)
        grad_logits = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        grad_parts = [None] * len(targets) if grad_logits is None else grad_logits.split(rows)
        parts = zip(_in_float32(logits), targets, counted.split(rows), grad_parts, strict=True)
        for part, target, counts, grad_part in parts:
            chosen = part.gather(-1, target)
            if smoothing:
                chosen = torch.lerp(chosen, part.mean(dim=-1, keepdim=True), smoothing)
            if grad_part is None:
                losses.append((part.logsumexp(dim=-1, keepdim=True) - chosen) * counts)
                continue
            largest = part.amax(dim=-1, keepdim=True)
            grad = (part - largest).exp_()
            total = grad.sum(dim=-1, keepdim=True)
            losses.append((largest + total.log() - chosen) * counts)
            grad.mul_(counts / total).scatter_add_(-1, target, (smoothing - 1) * counts.to(grad.dtype))
            if smoothing:
                grad -= smoothing / logits.shape[-1] * counts
            grad_part.copy_(grad)
        if grad_logits is not None:
            ctx.save_for_backward(grad_logits)
        return torch.cat(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None]:
        (grad_logits,) = ctx.saved_tensors
        return grad_logits * grad_total, None, None  # a number alone: it is not rounded to the dtype of the logits


def _in_float32(logits: Tensor) -> Any:
    """Yields some rows of (N, V) at a time in float32 at least."""
    return (part.to(torch.promote_types(part.dtype, torch.float32)) for part in logits.split(_rows(logits)))


def _rows(logits: Tensor) -> int:
    chunk = _CHUNK_ON_CPU if logits.device.type == "cpu" else _CHUNK_ON_ACCELERATOR
    return max(1, chunk // logits.shape[-1])
