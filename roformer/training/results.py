"""Losses and gradients of training steps, read from the device when they are there instead of waiting for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from roformer.training.nonfinite import check_step


@dataclass(frozen=True)
class StepResult:
    """What a step found, over all processes.

    Attributes:
        step: its number, from 0.
        loss: ().
        tokens: (), int64.
        norms: of each gradient before clipping, (parameters,).
        names: of these parameters.
        is_there: what to wait for before the tensors are read; None where they are there already.
    """

    step: int
    loss: Tensor
    tokens: Tensor
    norms: Tensor
    names: tuple[str, ...]
    is_there: torch.Event | None = None


class StepResults:
    """The results that nobody has read yet, first ones first.

    On an accelerator the host is ahead of the device: the result of a step is read when the next step has been asked
    for. Until then nobody knows whether it is finite, so the device itself skips an update that is not, by the
    protocol of PyTorch's fused optimizers (``found_inf``). On a CPU, and with an optimizer that does not know it,
    results are read before the update.

    Args:
        accelerator: of the run.
        optimizer: prepared by it.

    Attributes:
        are_read_late: whether results are read after the update.
    """

    def __init__(self, accelerator: Accelerator, optimizer: AcceleratedOptimizer) -> None:
        self._accelerator, self._optimizer = accelerator, optimizer.optimizer
        self._unread: list[StepResult] = []
        knows_found_inf = getattr(self._optimizer, "_step_supports_amp_scaling", False)
        self.are_read_late = accelerator.device.type != "cpu" and knows_found_inf

    def clear(self) -> None:
        """Forgets the steps whose results nobody has read, since they are undone."""
        self._unread.clear()

    def add(self, step: int, loss: Tensor, tokens: int, norms: Mapping[str, Tensor]) -> None:
        """Notes what a step found, whose update comes next.

        Args:
            step: its number, from 0.
            loss, tokens: of this process's parts of the batch.
            norms: of the gradients, by the names of their parameters.
        """
        total, norm = torch.full((), tokens, device=loss.device), torch.stack(tuple(norms.values()))
        if self._accelerator.num_processes > 1:
            loss, total = self._accelerator.reduce((loss, total))
        found = StepResult(step, loss, total, norm, tuple(norms))
        if self.are_read_late:
            self._optimizer.found_inf = (~torch.isfinite(loss + norm.sum())).float()
            found = _on_its_way(found)
        self._unread.append(found)

    def read(self, *, but: int) -> Iterator[StepResult]:
        """Yields results, except so many last ones, and forgets them.

        Raises:
            DivergedError: in place of a result that is not finite; the later ones stay unread.
        """
        while len(self._unread) > but:
            result = self._unread.pop(0)
            if result.is_there is not None:
                result.is_there.synchronize()
            check_step(result.step, result.loss, result.norms, result.names)
            yield result


def clip_gradients(model: nn.Module, max_norm: float) -> dict[str, Tensor]:
    """Scales the gradients such that the norm of all together is at most ``max_norm``.

    Returns:
        the norm of each gradient before, by the name of its parameter; ().
    """
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    # what clip_grad_norm_ calls, which returns the norm of all only; of private functions it is in every release
    norms = torch._foreach_norm(list(gradients.values()))
    total = torch.linalg.vector_norm(torch.stack(norms))
    torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, total)
    return dict(zip(gradients, norms, strict=True))


def _on_its_way(result: StepResult) -> StepResult:
    """Returns a result in pinned memory of the host, where it will be when the device has come so far."""
    loss, tokens, norms = (each.to("cpu", non_blocking=True) for each in (result.loss, result.tokens, result.norms))
    is_there = None
    if result.loss.device.type != "cpu":
        is_there = torch.Event(result.loss.device)
        is_there.record()
    return replace(result, loss=loss, tokens=tokens, norms=norms, is_there=is_there)
