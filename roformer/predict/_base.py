"""The contract of a predictor: a model in memory that says something about each of some documents."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from roformer.model import RoFormerPreTrainedModel
from roformer.predict.export import Export
from roformer.predict.writers import FORMATS
from roformer.runtime.precision import autocast, best_device, choose_precision
from roformer.tokenizer.pretrained import load_tokenizer
from roformer.training.export import read_model

Document = tuple[str, ...]
"""The texts of a document; what is blank is empty."""


@dataclass(frozen=True)
class Reading:
    """How documents are read.

    Attributes:
        max_length: tokens of a sequence; None for those of the run, the tokenizer or the model.
        precision: ``bf16``, ``fp32``, ``auto``, or None for that of the run.
        batch_tokens: tokens of a forward pass.
    """

    max_length: int | None
    precision: str | None
    batch_tokens: int


class Model:
    """An exported model on the best device, with its tokenizer.

    Args:
        export: of the model.
        reading: how documents are read.

    Raises:
        UserError: if the export cannot be read, or does not fit.
    """

    model_class: ClassVar[type[RoFormerPreTrainedModel]]

    def __init__(self, export: Export, reading: Reading) -> None:
        self.export, self.batch_tokens, device = export, reading.batch_tokens, best_device()
        self.model = self.module(read_model(self.model_class, export.folder)).to(device)
        self.tokenizer = load_tokenizer(str(export.folder))
        self.max_length = export.max_length(self.tokenizer) if reading.max_length is None else reading.max_length
        asked = reading.precision or (export.run["trainer"]["precision"] if export.run else "auto")
        chosen = choose_precision(asked, hidden_size=export.stored["hidden_size"], device=device).value
        self.autocast = autocast(chosen, device)

    def module(self, model: RoFormerPreTrainedModel) -> nn.Module:
        """Returns what computes scores with the model."""
        return model


class Predictor(Model, ABC):
    """A fine-tuned model that says something about each document."""

    formats: ClassVar[tuple[str, ...]] = FORMATS
    """In which of these a statement can be written; the first by default."""

    @abstractmethod
    def statements(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Returns what is predicted of each document, as plain JSON."""
