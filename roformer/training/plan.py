"""Every decision of a run, made once, before anything is trained."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import yaml
from accelerate.utils import broadcast_object_list

from roformer.config import TrainConfig
from roformer.data.corpus import Corpus
from roformer.runs import RunFolder
from roformer.runs.history import Tree, check_same_run, migrate
from roformer.runs.provenance import check_initial_weights
from roformer.runtime.choice import Choice
from roformer.runtime.precision import choose_precision
from roformer.tasks import TASKS
from roformer.training.backend import choose_backend
from roformer.training.compilation import choose_compile
from roformer.training.lr_search import LossByRate, best_rate, describe_choice, search_results

T = TypeVar("T")

_AS_BEGUN = "as the run began"


@dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Attributes:
        config: with the choices below in place of ``auto`` and of a search.
        precision, compile, backend, learning_rate: what was chosen, and why.
        losses_by_rate: what a search found; None where there was none, or where it chose when the run began.
    """

    config: TrainConfig
    precision: Choice[str]
    compile: Choice[bool]
    backend: Choice[str]
    learning_rate: Choice[float]
    losses_by_rate: LossByRate | None

    @classmethod
    def resolve(cls, config: TrainConfig, folder: RunFolder, device: torch.device) -> "RunPlan":
        """Makes every choice: as configured, else as when the run began, else by measurement or search.

        Args:
            config: validated.
            folder: of the run, which may have begun.
            device: that it trains on.

        Raises:
            UserError: if the data are not where they should be, a search cannot answer, or the folder holds a run
                with other settings or other initial weights.
        """
        stored = folder.config
        if stored is None:
            Corpus.from_settings(config.data)  # a wrong path is reported before anything is measured
        precision = _of_first_process(_precision(config, stored, device))
        compiled = _of_first_process(_compile(config, stored, device))
        backend = _of_first_process(_backend(config, stored, precision.value, device))
        config = replace(
            config,
            trainer=replace(config.trainer, precision=precision.value, compile=compiled.value),
            attention={**config.attention, "name": backend.value},
        )
        losses_by_rate = search_results(config) if stored is None else None
        learning_rate = _of_first_process(_learning_rate(config, stored, losses_by_rate))
        config = replace(config, optimizer={**config.optimizer, "learning_rate": learning_rate.value})
        if stored is not None:
            check_same_run(folder.path, folder.status, stored, migrate(yaml.safe_load(config.to_yaml())))
            check_initial_weights(folder, config.init_from)
        return cls(config, precision, compiled, backend, learning_rate, losses_by_rate)

    def table(self) -> str:
        """Returns one line per choice: what, its value, the reason."""
        rows = {
            "precision": (self.precision.value, self.precision.reason),
            "compile": ("on" if self.compile.value else "off", self.compile.reason),
            "attention": (self.backend.value, self.backend.reason),
            "learning rate": (f"{self.learning_rate.value:g}", self.learning_rate.reason),
        }
        return "\n".join(f"{name:13}  {value:8}  {reason}" for name, (value, reason) in rows.items())


def _of_first_process(choice: Choice[T]) -> Choice[T]:
    """Returns what the first process chose, on every process, since measurements differ."""
    agreed: list[Choice[T]] = broadcast_object_list([choice])
    return agreed[0]


def _precision(config: TrainConfig, stored: Tree | None, device: torch.device) -> Choice[str]:
    asked = config.trainer.precision
    if stored and asked == "auto":
        return Choice(stored["trainer"]["precision"], _AS_BEGUN)
    return choose_precision(asked, hidden_size=config.model["hidden_size"], device=device)


def _compile(config: TrainConfig, stored: Tree | None, device: torch.device) -> Choice[bool]:
    asked = config.trainer.compile
    if stored and asked == "auto":
        return Choice(stored["trainer"]["compile"], _AS_BEGUN)
    return choose_compile(asked, device)


def _backend(config: TrainConfig, stored: Tree | None, precision: str, device: torch.device) -> Choice[str]:
    asked, model = config.attention["name"], config.model
    if stored and asked == "auto":
        return Choice(stored["attention"]["name"], _AS_BEGUN)
    return choose_backend(
        asked,
        length=config.length,
        head_size=model["hidden_size"] // model["num_attention_heads"],
        dropout=model["attention_probs_dropout_prob"],
        causal=TASKS[config.task["name"]].architecture.get("is_decoder", False),
        precision=precision,
        device=device,
    )


def _learning_rate(config: TrainConfig, stored: Tree | None, losses_by_rate: LossByRate | None) -> Choice[float]:
    if losses_by_rate is not None:
        return Choice(best_rate(losses_by_rate), describe_choice(losses_by_rate, config.lr_search_dir))
    if stored and config.lr_search_dir:
        return Choice(stored["optimizer"]["learning_rate"], _AS_BEGUN)
    return Choice(config.optimizer["learning_rate"])
