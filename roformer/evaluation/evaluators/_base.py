"""The contract of an evaluator: a name, a version, and metrics of one loaded run."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from roformer.config import EvaluateConfig
from roformer.evaluation.runs import Run
from roformer.model import RoFormerPreTrainedModel
from roformer.registry import Registry
from roformer.tasks import TASKS, Task


@dataclass(frozen=True)
class LoadedRun:
    """A run with its exported model, in evaluation mode, and the task on the data that it was trained on."""

    run: Run
    model: RoFormerPreTrainedModel
    task: Task


class Evaluator(ABC):
    """Measures one thing. ``version`` rises whenever the same run would give another number.

    Args:
        config: lengths and batch sizes of the evaluation.
    """

    version: ClassVar[int]
    tasks: ClassVar[tuple[type[Task], ...]]
    """The kinds of tasks whose runs it measures."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    def fits(self, run: Run) -> bool:
        """Returns whether this can be measured on a run."""
        return issubclass(TASKS[run.task], self.tasks)

    @abstractmethod
    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns the metrics as plain JSON; the test split only, never what was trained on."""


EVALUATORS: Registry[Evaluator] = Registry("evaluator")
