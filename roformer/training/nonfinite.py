"""Numbers that are not finite: found at the step at which they appear, before they reach a checkpoint."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from roformer.errors import UserError

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer

_LOWER = "lower optimizer.learning_rate"


class NonfiniteError(UserError):
    """The run cannot continue, since a number is not finite."""


class DivergedError(Exception):
    """A training step has a loss or a gradient that is not finite; ``Recovery`` may have a remedy.

    Attributes:
        batch: its number from 0, which is also the number of steps done before it.
    """

    def __init__(self, batch: int, culprit: str) -> None:
        super().__init__(f"{culprit} at step {batch + 1}")
        self.batch = batch


def check_step(step: int, loss: Tensor, norms: Tensor, names: Sequence[str]) -> None:
    """Raises ``DivergedError`` unless the loss and the norms of the gradients are finite.

    Args:
        step: its number, from 0.
        loss: ().
        norms: of each gradient before clipping, (parameters,); as the loss on the host.
        names: of these parameters.
    """
    if not math.isfinite(loss):
        raise DivergedError(step, f"the loss is {float(loss)}")
    for name, norm in zip(names, norms.tolist(), strict=True):
        if not math.isfinite(norm):
            raise DivergedError(step, f"the gradient of {name} is not finite")
    if not math.isfinite(total := torch.linalg.vector_norm(norms)):
        raise DivergedError(step, f"the norm of the gradients is {float(total)}")


def check_weights(model: nn.Module, origin: str) -> None:
    """Raises ``NonfiniteError`` if a weight of the model is not finite; ``origin`` says where it comes from."""
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise NonfiniteError(
                f"{origin}: the weight {name} is not finite; use an earlier checkpoint, or a whole export"
            )


def check_evaluation(step: int, metrics: Mapping[str, float]) -> None:
    """Raises ``NonfiniteError`` if a metric of the evaluation after ``step`` is not finite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NonfiniteError(f"{name} is {value} at step {step}, and the training loss is finite; {_LOWER}")


class Recovery:
    """What is done about a batch that gives numbers that are not finite.

    Args:
        remedy: ``stop``: end the run; ``skip``: continue with the next batch; ``restore``: go back to the last
            checkpoint and skip the batch (Chowdhery et al. 2022, arXiv:2204.02311, section 5.1).
        limit: batches that may be skipped in one run.
    """

    def __init__(self, remedy: str, *, limit: int) -> None:
        self.remedy, self.limit = remedy, limit

    def recover(self, trainer: "Trainer", error: DivergedError) -> None:
        """Prepares the trainer to continue without the batch.

        Raises:
            NonfiniteError: with ``stop``, or beyond the limit; says what to do.
        """
        trainer.optimizer.zero_grad()
        skipped = [*trainer.state.skipped, error.batch]
        if self.remedy == "stop" or len(skipped) > self.limit:
            raise NonfiniteError(self._advice(trainer, error)) from error
        # found after the update that was skipped: what follows that step has not been done
        trainer.state.log_is_pending = error.batch < trainer.state.step
        if self.remedy == "restore" and trainer.checkpoints.load_newest():
            trainer.results.clear()
        trainer.state.skipped = skipped
        where = f"from step {trainer.state.step} " if self.remedy == "restore" else ""
        trainer.accelerator.print(f"{error}: continuing {where}without batch {error.batch}")

    def _advice(self, trainer: "Trainer", error: DivergedError) -> str:
        trainer.checkpoints.wait()
        rows = trainer.task.batch_row_numbers(error.batch, trainer.config.trainer.batch_size)
        listed = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        spent = f" after {self.limit} skipped batches" if self.remedy != "stop" else ""
        checkpoints = trainer.folder.checkpoints
        kept = f"; {checkpoints[max(checkpoints)]} is intact" if checkpoints else ""
        return (
            f"{error}{spent}: batch {error.batch}, rows {listed} (to print it: roformer-describe ... "
            f"+batch={error.batch}); {_LOWER}, or set trainer.nonfinite=skip{kept}"
        )
