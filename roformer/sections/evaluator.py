"""The contract of an evaluator: metrics of one loaded run, which it measures with its model and its task."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, Literal, TypeVar

from roformer import sections
from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import EvaluateConfig
from roformer.model import RoFormerPreTrainedModel
from roformer.registry import Registry
from roformer.results.records import Settings
from roformer.tasks import Task

T = TypeVar("T", bound=Task)
M = TypeVar("M")


@dataclass(frozen=True)
class LoadedRun(Generic[T]):
    """A finished run with its exported model, in evaluation mode.

    Attributes:
        folder: of the run.
        config: what its ``config.yaml`` says.
        model: on the best device.
        task: on the data that the run was trained on.
    """

    folder: Path
    config: Settings
    model: RoFormerPreTrainedModel
    task: T


class Evaluator(ABC, Generic[T, M]):
    """Measures one thing.

    Args:
        config: lengths and batch sizes of the evaluation.

    Attributes:
        version: rises whenever the same run would give other metrics.
        families: of the tasks whose runs it measures.
        metrics: frozen dataclass that it returns.
        scope: what its metrics depend on: the ``run``, or only its ``data`` and how the task reads them.
    """

    version: ClassVar[int]
    families: ClassVar[tuple[str, ...]]
    metrics: ClassVar[type[Any]]
    scope: ClassVar[Literal["run", "data"]] = "run"

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    @property
    def settings(self) -> tuple[object, ...]:
        """What of the evaluation's configuration its metrics depend on."""
        return self.config.length_factors, self.config.batch_tokens

    def fits(self, config: Settings) -> bool:
        """Returns whether this can be measured on a run of its families, from the run's configuration."""
        return True

    @abstractmethod
    def evaluate(self, run: LoadedRun[T]) -> M:
        """Returns the metrics; the test split only, never what was trained on."""


EVALUATORS: Registry[Evaluator[Any, Any]] = Registry("evaluator")


def discover() -> Registry[Evaluator[Any, Any]]:
    """Returns the registry with the evaluators of all sections."""
    for module in iter_modules(sections.__path__):
        if module.ispkg and find_spec(f"{sections.__name__}.{module.name}.measure"):
            import_module(f"{sections.__name__}.{module.name}.measure")
    return EVALUATORS


def uses_softmax(config: Settings) -> bool:
    """Returns whether a run's attention is softmax attention, which has scores and weights."""
    return issubclass(ATTENTION_BACKENDS[config["attention"]["name"]], SoftmaxAttention)
