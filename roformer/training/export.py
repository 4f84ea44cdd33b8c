"""The model of a run as users load it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from roformer.errors import UserError, one_line
from roformer.io import write_text
from roformer.model import RoFormerPreTrainedModel
from roformer.runs.folder import check_export
from roformer.training.model_card import CARD, exported_line, model_card
from roformer.training.nonfinite import check_weights
from roformer.training.sentence_embedding import write_sentence_embedding

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer


def write_model(trainer: "Trainer", new_folder: AbstractContextManager[Path], *, card: str | None = None) -> None:
    """Writes model and tokenizer as ``from_pretrained`` reads them, for sentence-transformers as well; on the first
    process only."""
    if trainer.accelerator.is_main_process:
        with new_folder as draft:
            trainer.unwrapped_model.save_pretrained(draft)
            trainer.task.exported_tokenizer().save_pretrained(draft)
            write_sentence_embedding(draft, trainer.task, trainer.unwrapped_model.config)
            if card is not None:
                write_text(draft / CARD, card)


def read_model(model_class: type[RoFormerPreTrainedModel], folder: Path) -> RoFormerPreTrainedModel:
    """Returns an exported model in evaluation mode, on the CPU.

    Raises:
        UserError: if the export is damaged or cannot be read, or a weight is not finite.
    """
    check_export(folder)
    try:
        model = model_class.from_pretrained(folder)  # in evaluation mode
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot read {folder} ({one_line(error)}); delete it, then re-run the training command of the run"
        ) from error
    check_weights(model, str(folder))
    return model


def export(trainer: "Trainer") -> None:
    """Finishes the run: exports the best state where early stopping kept one, the mean of the last checkpoints where
    that is configured, or else the last state."""
    folder = trainer.folder
    if (count := trainer.config.trainer.average_checkpoints) > 1:
        trainer.checkpoints.load_average(trainer.unwrapped_model, count)
    is_main = trainer.accelerator.is_main_process
    if not folder.best.is_dir():
        write_model(trainer, folder.new_export(), card=model_card(trainer) if is_main else None)
    elif is_main:
        write_text(folder.best / CARD, model_card(trainer))
        folder.export_best()
        print(_choice(trainer), flush=True)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.print(f"finished: {folder.export}")


def _choice(trainer: "Trainer") -> str:
    """Returns a line on the state that is exported, and why the run ended before its last step if it did."""
    state, metric = trainer.state, trainer.task.best_metric
    best = exported_line(trainer, trainer.folder.metrics())
    stopped = (
        f"stopped at step {state.step:,} of {trainer.max_steps:,}, after {state.evaluations_without_gain} evaluations "
        f"without a better {metric} (trainer.early_stopping_patience); "
        if state.stopped_early and state.step < trainer.max_steps
        else ""
    )
    return f"{stopped}exported is step {best['step']:,}, the best on the validation split: {metric} {best[metric]:.4f}"
