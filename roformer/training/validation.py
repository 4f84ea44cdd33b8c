"""Settings that cannot work together, refused before any work: one list, in which each part checks itself."""

from dataclasses import replace

from roformer.attention import ATTENTION_BACKENDS
from roformer.config import TrainConfig
from roformer.data import SOURCES
from roformer.data.corpus import source_settings
from roformer.errors import UserError
from roformer.model import RoFormerLabConfig
from roformer.optim import OPTIMIZERS
from roformer.optim.schedules import SCHEDULES
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding
from roformer.tasks import TASKS
from roformer.tokenizer import TOKENIZERS
from roformer.trackers import TRACKERS


def validate(config: TrainConfig, overridden: frozenset[str] = frozenset()) -> None:
    """Raises ``UserError`` for settings that no run can have; costs nothing.

    Args:
        config: after ``init_from`` has fixed its part.
        overridden: groups and values that the user set on the command line.
    """
    task = TASKS[config.task["name"]]
    TASKS.check(config.task)
    TOKENIZERS.check(config.tokenizer)
    SOURCES.check(source_settings(config.data))
    SOURCES[config.data["name"]].check(config.data, config.task)
    task.check(config.task)
    shape = RoFormerLabConfig(**config.model, **task.architecture, position=config.position).shape
    position = POSITION_ENCODINGS.build(config.position, shape)
    if task.architecture.get("is_encoder_decoder"):
        POSITION_ENCODINGS.build(config.position, replace(shape, causal=True))
    _check_attention(config, position, shape)
    _check_longest_position(config, position)
    _check_other_runs(config, overridden)
    OPTIMIZERS.build(config.optimizer)
    SCHEDULES.build(config.scheduler)
    TRACKERS.build(config.tracker)


def _check_attention(config: TrainConfig, position: PositionEncoding, shape: ModelShape) -> None:
    auto = config.attention["name"] == "auto"  # chooses among the softmax backends, which allow the same
    attention = {**config.attention, "name": "sdpa"} if auto else config.attention
    ATTENTION_BACKENDS[attention["name"]].check(position)
    dropout = config.model["attention_probs_dropout_prob"]
    ATTENTION_BACKENDS.build(attention, shape, dropout, False)  # no value is rotated


def _check_longest_position(config: TrainConfig, position: PositionEncoding) -> None:
    max_length = position.traits.max_length
    for key in ("sequence_length", "max_length"):
        if max_length is not None and config.task.get(key, 0) > max_length:
            raise UserError(
                f"task.{key}={config.task[key]} is longer than the table of {config.position['name']} positions, "
                f"model.max_position_embeddings={max_length}; lower the one or raise the other"
            )


def _check_other_runs(config: TrainConfig, overridden: frozenset[str]) -> None:
    if config.lr_search_dir and "optimizer.learning_rate" in overridden:
        raise UserError(
            "optimizer.learning_rate has no effect with lr_search_dir; leave it out, or set lr_search_dir=null"
        )
    if config.load_optimizer_state and not config.init_from:
        raise UserError("load_optimizer_state needs the run whose state it is; give init_from, or set it to false")
