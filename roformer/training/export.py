"""The model of a run as users load it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer


def write_model(trainer: "Trainer", new_folder: AbstractContextManager[Path]) -> None:
    """Writes model and tokenizer as ``from_pretrained`` reads them; on the first process only."""
    if trainer.accelerator.is_main_process:
        with new_folder as draft:
            trainer.unwrapped_model.save_pretrained(draft)
            trainer.task.exported_tokenizer().save_pretrained(draft)


def export(trainer: "Trainer") -> None:
    """Finishes the run: exports the best state where early stopping kept one, the mean of the last checkpoints where
    that is configured, or else the last state."""
    folder = trainer.folder
    if (count := trainer.config.trainer.average_checkpoints) > 1:
        trainer.checkpoints.load_average(trainer.unwrapped_model, count)
    if not folder.best.is_dir():
        write_model(trainer, folder.new_export())
    elif trainer.accelerator.is_main_process:
        folder.export_best()
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.print(f"finished: {folder.export}")
