"""The typed border: what Hydra composed from ``conf/`` becomes frozen dataclasses, or one clear line of error.

Numbers live in ``conf/``; here are types and checks only, so nothing has a default.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from roformer.errors import UserError

_PACKAGE = Path(__file__).parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The configuration: inside an installed package, and next to the package in a checkout."""

# in a recipe: ${choose:${data.glue_task},{stsb:regression},classification}
OmegaConf.register_new_resolver("choose", lambda key, choices, otherwise: choices.get(key, otherwise), replace=True)

_PRECISIONS = ("auto", "bf16", "fp32")
_COMPILE = ("auto", True, False)
_REMEDIES = ("stop", "skip", "restore")
Settings = dict[str, Any]
"""A registry name under ``name``, and that class's own settings."""


def data_name(data: Settings) -> str:
    """Returns the name of a corpus in the folders of runs and in reports: of its dataset, its (first) file, the folder
    of a pattern, or its source."""
    named = data.get("dataset") or data.get("path") or data["name"]
    place = Path(named[0] if isinstance(named, list) else named)
    while {*place.name} & {*"*?"}:
        place = place.parent
    return place.stem or data["name"]


def sequence_length(task: Settings) -> int:
    """Returns the tokens in the longest sequence that a task trains on."""
    return int(task.get("sequence_length") or task["max_length"])


@dataclass(frozen=True)
class TrainerConfig:
    """How long, in what portions, and what is kept.

    Attributes:
        max_steps: optimizer steps; None takes ``num_train_epochs``.
        num_train_epochs: passes over the training data; used where ``max_steps`` is None.
        batch_size: sequences (in translation: tokens) an optimizer step, over all processes and accumulation steps.
        gradient_accumulation_steps: parts that each process cuts its share of a batch into.
        auto_batch: out of memory, cut batches into twice as many parts and go on, instead of stopping.
        gradient_checkpointing: keep the inputs of each layer only, and compute it again in the backward pass.
        max_grad_norm: clip the norm of all gradients to this.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: whichever a short measurement finds faster.
        compile: whether ``torch.compile`` fuses the operations of each layer around attention; ``auto``: on an
            accelerator with Triton.
        logging_steps, save_steps: steps between lines in ``metrics.jsonl``, and between checkpoints.
        eval_steps: steps between evaluations on the validation split; None means once an epoch.
        eval_on_start: evaluate before the first step as well: what the weights of ``init_from`` can do.
        keep_checkpoints: older checkpoints are deleted.
        average_checkpoints: export the mean of the weights in so many last checkpoints; 1 means the last state.
        early_stopping_patience: evaluations without a better metric before training stops; None never stops, and
            exports the last state instead of the best.
        nonfinite: what is done about a loss or gradient that is not finite: ``stop``; ``skip`` the batch; ``restore``
            the last checkpoint and skip the batch.
        nonfinite_limit: batches that may be skipped in one run.
        save_minutes: minutes between checkpoints, besides those of ``save_steps``; None for none.
        timeout_minutes: that processes wait for each other in a step, an evaluation or a checkpoint.
        max_minutes: save and stop after so many minutes, to be resumed by the same command; None for no limit.
    """

    max_steps: int | None
    num_train_epochs: float
    batch_size: int
    gradient_accumulation_steps: int
    auto_batch: bool
    gradient_checkpointing: bool
    max_grad_norm: float
    precision: str
    compile: bool | str
    logging_steps: int
    eval_steps: int | None
    eval_on_start: bool
    save_steps: int
    keep_checkpoints: int
    average_checkpoints: int
    early_stopping_patience: int | None
    nonfinite: str
    nonfinite_limit: int
    save_minutes: float | None
    max_minutes: float | None
    timeout_minutes: float

    def __post_init__(self) -> None:
        for name in (
            "batch_size", "gradient_accumulation_steps", "logging_steps", "save_steps", "keep_checkpoints",
            "average_checkpoints",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name} must be at least 1, got {getattr(self, name)}")
        if (self.max_steps if self.max_steps is not None else self.num_train_epochs) <= 0:
            raise UserError("trainer.max_steps (or, where it is null, trainer.num_train_epochs) must be above 0")
        if self.eval_steps is not None and self.eval_steps < 1:
            raise UserError(f"trainer.eval_steps must be at least 1 or null, got {self.eval_steps}")
        if not self.max_grad_norm > 0:
            raise UserError(f"trainer.max_grad_norm must be above 0, got {self.max_grad_norm}")
        if self.early_stopping_patience is not None and self.early_stopping_patience < 1:
            raise UserError(
                f"trainer.early_stopping_patience must be at least 1 or null, got {self.early_stopping_patience}"
            )
        if self.average_checkpoints > self.keep_checkpoints:
            raise UserError(
                f"trainer.average_checkpoints={self.average_checkpoints} needs as many in "
                f"trainer.keep_checkpoints, which is {self.keep_checkpoints}"
            )
        if self.average_checkpoints > 1 and self.early_stopping_patience is not None:
            raise UserError(
                "trainer.average_checkpoints averages the last states, trainer.early_stopping_patience exports the "
                "best one; set the one to 1 or the other to null"
            )
        if self.batch_size % self.gradient_accumulation_steps:
            raise UserError(
                f"trainer.batch_size {self.batch_size} is not a multiple of "
                f"trainer.gradient_accumulation_steps {self.gradient_accumulation_steps}"
            )
        if self.precision in ("fp16", "float16"):
            raise UserError(
                f"trainer.precision: {self.precision} loses small gradients without loss scaling, which this trainer "
                "does not do; use bf16, or fp32 where the device has no bf16"
            )
        for name, choices in (("precision", _PRECISIONS), ("compile", _COMPILE), ("nonfinite", _REMEDIES)):
            if (given := getattr(self, name)) not in choices:
                available = ", ".join(str(choice).lower() for choice in choices)
                raise UserError(f"trainer.{name}: unknown '{given}' (available: {available})")
        for name in ("save_minutes", "max_minutes", "timeout_minutes"):
            if (minutes := getattr(self, name)) is not None and not minutes > 0:
                raise UserError(f"trainer.{name} must be above 0 or null, got {minutes}")
        if self.nonfinite_limit < 0:
            raise UserError(f"trainer.nonfinite_limit must be 0 or more, got {self.nonfinite_limit}")


@dataclass(frozen=True)
class PathsConfig:
    """Where a run writes (None: a folder named after the run), and where corpora are cached by content."""

    output_dir: str | None
    cache_dir: str


@dataclass(frozen=True)
class TrainConfig:
    """Everything that ``train.py`` needs to know.

    Attributes:
        seed: of the initial weights, the order of the data, and the masks.
        init_from: output folder of a finished run, an export, or another checkpoint, in a folder or on the hub, whose
            weights the run starts from.
        load_optimizer_state: with ``init_from``, start from that run's optimizer state, too.
        lr_search_dir: a folder of finished runs; the learning rate is the best of those that differ in nothing else.
    """

    seed: int
    init_from: str | None
    load_optimizer_state: bool
    lr_search_dir: str | None
    model: dict[str, Any]
    position: Settings
    attention: Settings
    data: Settings
    tokenizer: Settings
    task: Settings
    optimizer: Settings
    scheduler: Settings
    trainer: TrainerConfig
    tracker: Settings
    paths: PathsConfig

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must lie in [0, 2^63), got {self.seed}")

    @classmethod
    def from_hydra(cls, raw: DictConfig, overridden: Collection[str] = ()) -> "TrainConfig":
        """Resolves and checks what Hydra composed; raises OmegaConf's or a ``UserError`` naming the key.

        Args:
            overridden: groups and values that the command line sets; the ``stand_ins`` of their groups are ignored.
        """
        return _typed(cls, _with_stand_ins(raw, overridden))

    @classmethod
    def compose(cls, *overrides: str) -> "TrainConfig":
        """Returns the configuration of ``train.py`` with these arguments."""
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return cls.from_hydra(compose("train", list(overrides)), overridden_keys(overrides))

    @classmethod
    def from_settings(cls, settings: Settings) -> "TrainConfig":
        """Checks settings that ``to_yaml`` wrote, like ``from_hydra``."""
        return _typed(cls, OmegaConf.create(settings))

    @property
    def output_dir(self) -> Path:
        """The run's folder; the same settings always mean the same folder, which is how a run is resumed."""
        name = f"{self.task['name']}-{data_name(self.data)}-{self.position['name']}-seed{self.seed}"
        return Path(self.paths.output_dir or f"outputs/{name}")

    @property
    def length(self) -> int:
        """Tokens in the longest sequence that the task trains on."""
        return sequence_length(self.task)

    def to_yaml(self) -> str:
        return yaml.safe_dump(asdict(self), sort_keys=False)


@dataclass(frozen=True)
class EvaluateConfig:
    """Everything that ``evaluate.py`` needs to know.

    Attributes:
        runs: a pattern, or several, for the output folders of runs.
        reference: the encoding that the others are compared with.
        output_dir: where ``results/`` and ``report/`` go; None means the folder that the runs lie in.
        title: heading of the report.
        length_factors: lengths of the extrapolation test, as multiples of the training length.
        batch_tokens: tokens a forward pass.
        hardest_documents: test documents of each classifier whose beginnings are shown, those of the highest loss; 0
            keeps all text out of results and report.
    """

    runs: Any
    reference: str
    output_dir: str | None
    title: str
    length_factors: list[int]
    batch_tokens: int
    hardest_documents: int

    def __post_init__(self) -> None:
        factors = self.length_factors
        if not factors or min(factors) < 1 or any(max(factors) % factor for factor in factors):
            raise UserError(
                f"length_factors must be whole numbers from 1 on, each a divisor of the greatest, got {factors}"
            )
        if not all(isinstance(pattern, str) for pattern in self.patterns):
            raise UserError(f"runs must be a pattern or a list of patterns such as outputs/*, got {self.runs}")
        if self.batch_tokens < 1:
            raise UserError(f"batch_tokens must be at least 1, got {self.batch_tokens}")
        if self.hardest_documents < 0:
            raise UserError(f"hardest_documents must be 0 or more, got {self.hardest_documents}")

    @classmethod
    def from_hydra(cls, raw: DictConfig) -> "EvaluateConfig":
        return _typed(cls, raw)

    @property
    def patterns(self) -> list[str]:
        return self.runs if isinstance(self.runs, list) else [self.runs]


def overridden_keys(overrides: Iterable[str]) -> frozenset[str]:
    """Returns the groups and values that arguments such as ``position=rope`` or ``+data.path=x`` set."""
    return frozenset(override.partition("=")[0].lstrip("+~") for override in overrides)


_NAMES_NO_DATA = {"data.glue_task"}  # it says which of several


def _with_stand_ins(raw: DictConfig, overridden: Collection[str]) -> DictConfig:
    """Returns the settings with their ``stand_ins`` (conf/debug/smoke.yaml) in place of groups not overridden."""
    settings, chosen = raw.copy(), {key.partition(".")[0] for key in {*overridden} - _NAMES_NO_DATA}
    with open_dict(settings):
        all_stand_ins = settings.pop("stand_ins", {})
        if all_stand_ins:
            settings.task.name = raw.task.name  # resolved: GLUE's depends on the data, which may be replaced
        for group in all_stand_ins.keys() - chosen:
            stand_in = all_stand_ins[group].get(settings[group].name, all_stand_ins[group].get("otherwise"))
            if stand_in is not None:
                settings[group] = stand_in if "name" in stand_in else OmegaConf.merge(settings[group], stand_in)
    return settings


def _typed(cls: type[Any], raw: DictConfig) -> Any:
    """Merges into the dataclass's schema, so that a wrong type, a missing value or a stray key dies by name."""
    schema = OmegaConf.structured(cls)
    for node in (schema, *(schema._get_node(field.name) for field in fields(cls))):
        OmegaConf.set_readonly(node, False)  # else OmegaConf refuses to fill the schema of a frozen dataclass
    return OmegaConf.to_object(OmegaConf.merge(schema, raw))
