"""How far a training is."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TrainState:
    """What a checkpoint holds besides weights, optimizer, schedule and meter; batches need only the step.

    Attributes:
        step, tokens: done so far.
        best: the best value of the task's metric on the validation split.
        evaluations_without_gain: since that value.
        stopped_early: whether there were too many of them.
        log_is_pending: a signal came before the step's evaluation was done and its line written.
        gradient_accumulation_steps: parts that a process cuts its share of a batch into.
        skipped: batches, by their step, that are not trained on, since they gave numbers that are not finite.
    """

    gradient_accumulation_steps: int
    step: int = 0
    tokens: int = 0
    best: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    log_is_pending: bool = False
    skipped: list[int] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
