"""An exported model on disk: what it says about how it is to be used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER  # of a tokenizer that knows no length

from roformer.config import sequence_length
from roformer.data.sources import QUESTION_COLUMNS, text_columns
from roformer.errors import UserError
from roformer.model import RoFormerForQuestionAnswering, RoFormerForSequenceClassification
from roformer.runs.folder import find_export, run_of_export
from roformer.training.warm_start import read_settings


class Export:
    """What an export, and its run where it lies in one, say about how the model is to be used.

    Args:
        given: the output folder of a finished run, or an export.

    Raises:
        UserError: if there is none, or it is no RoFormer of ours.
    """

    def __init__(self, given: str) -> None:
        self.folder: Path = find_export(given)
        self.stored = read_settings(self.folder)
        run = run_of_export(self.folder)
        self.run: dict[str, Any] | None = run.config if run else None

    @property
    def architecture(self) -> str:
        """The class of the model."""
        return str((self.stored.get("architectures") or ["a model"])[0])

    @property
    def names(self) -> list[str]:
        """Of the logits."""
        return [name for _, name in sorted(self.stored["id2label"].items(), key=lambda item: int(item[0]))]

    @property
    def columns(self) -> list[str]:
        """The columns that the run read its texts from; where no run is known, those of its kind of model."""
        if self.run:
            return text_columns(self.run["data"])
        return list(QUESTION_COLUMNS) if self.architecture == RoFormerForQuestionAnswering.__name__ else ["text"]

    def max_length(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """Returns the tokens of a sequence in training, as far as that is known: those of the run, else of the
        tokenizer, else the positions of the model."""
        if self.run:
            return sequence_length(self.run["task"])
        known = tokenizer.model_max_length
        return known if known < VERY_LARGE_INTEGER else int(self.stored["max_position_embeddings"])

    def check_texts(self, columns: Sequence[str]) -> None:
        """Raises ``UserError`` if documents of so many texts are not those that the model was trained on."""
        knows_texts = self.run or self.architecture != RoFormerForSequenceClassification.__name__
        if knows_texts and len(columns) != len(self.columns):
            raise UserError(
                f"{self.folder} was trained on documents of the texts {', '.join(self.columns)}, given: "
                f"{', '.join(columns)}; give a table, and as many of its columns as --text-column"
            )
        if (problem := self.stored.get("problem_type")) == "multi_label_classification" and len(columns) != 3:
            raise UserError(
                f"{self.folder} is of task=matching ({problem}), which needs three texts per document; give a table, "
                "and --text-column=A,B,C"
            )
